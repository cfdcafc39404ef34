"""The embedding of lexemes as a Thinc layer."""

from collections.abc import Callable
from typing import Any, cast

import numpy
from spacy.attrs import intify_attr
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model, torch2xp, xp2torch
from thinc.types import ArrayXd, Floats2d

from ..modules.subword import hash_subwords, mix_hash
from .ragged import flatten, split
from .torch_shim import TorchShim, get_shim

InT = list[Doc]
OutT = list[Floats2d]

# Words that share one row of a table seldom share two.
N_HASHES = 2
# Of a longer token, only the n-grams at both ends are read.
MAX_CHARS = 128


def lexeme_embed(
    shim: TorchShim,
    *,
    width: int,
    attrs: list[str],
    rows: list[int],
    prefix_sizes: list[int],
    suffix_sizes: list[int],
    affix_rows: int,
    ngram_sizes: list[int],
    ngram_rows: int,
    word_dropout: float,
    include_static_vectors: bool,
) -> Model[InT, OutT]:
    """Embed the tokens of Docs, once for each distinct set of features in the batch.

    shim (TorchShim): Builds a `LexemeEmbedding`; needs `vectors_width`.
    width (int): The output width.
    attrs (List[str]): The lexical attributes to embed; the first stands for the word itself.
    rows (List[int]): The number of rows of each attribute's table.
    ngram_sizes (List[int]): The sizes of the character n-grams.
    ngram_rows (int): The number of rows of the n-grams' table.
    word_dropout (float): The share of tokens in training of which only attributes other than
        the first are shown.
    include_static_vectors (bool): Whether to use `vocab.vectors`.
    RETURNS (Model[List[Doc], List[Floats2d]]): The layer; one row of output for each token.
    """
    return Model(
        "lexeme_embed",
        forward,
        init=init,
        dims={"nO": width},
        attrs={
            "columns": [intify_attr(attr) for attr in attrs],
            "rows": rows,
            "prefix_sizes": prefix_sizes,
            "suffix_sizes": suffix_sizes,
            "affix_rows": affix_rows,
            "ngram_sizes": ngram_sizes,
            "ngram_rows": ngram_rows,
            "word_dropout": word_dropout,
            "include_static_vectors": include_static_vectors,
        },
        shims=[shim],
    )


def forward(model: Model[InT, OutT], docs: InT, is_train: bool) -> tuple[OutT, Callable]:
    """Embed a batch of Docs."""
    shim = get_shim(model)
    shim.require_module(model.name)
    lengths = [len(doc) for doc in docs]
    if not any(lengths):
        return [model.ops.alloc2f(0, model.get_dim("nO")) for _ in docs], _no_gradient
    features = [
        None if array is None else xp2torch(cast(ArrayXd, array), device=shim.device)
        for array in extract_features(model, docs, is_train)
    ]
    if not is_train:
        return split(torch2xp(shim.predict(*features)), lengths), _no_gradient
    Yf, backprop_torch = shim.begin_update(None, *features)

    def backprop(dYs: OutT) -> InT:
        backprop_torch(flatten(model.ops, dYs, shim.device))
        return []

    return split(torch2xp(Yf), lengths), backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Look up the width of the static vectors, and make the module."""
    vectors_width = 0
    if model.attrs["include_static_vectors"]:
        if not X:
            return
        vectors_width = X[0].vocab.vectors_length
        if not vectors_width:
            raise ValueError(
                "Setting include_static_vectors = True needs word vectors, but the vocab has "
                "none: set [initialize] vectors to a pipeline with vectors, or turn it off."
            )
    get_shim(model).initialize(vectors_width=vectors_width)


def extract_features(
    model: Model[InT, OutT], docs: InT, is_train: bool
) -> tuple[numpy.ndarray | None, ...]:
    """Get what the module wants: the distinct lexemes' features, and which token has which.

    model (Model): The layer.
    docs (List[Doc]): The batch; not all of it empty.
    is_train (bool): Whether words are dropped.
    RETURNS (Tuple[Optional[ndarray]]): The arguments of `LexemeEmbedding.forward`.
    """
    # NORM may be set by hand on a token, so that a lexeme is more than its ORTH.
    # Subwords are read in lower case: they repeat more often so, and the shape knows the case.
    columns = ["ORTH", "LOWER", *model.attrs["columns"]]
    ids = numpy.concatenate([doc.to_array(columns) for doc in docs if len(doc)])
    key = ids[:, 0]
    for column in range(2, ids.shape[1]):
        key = mix_hash(key, salt=column) ^ ids[:, column]
    _, first, tokens = numpy.unique(key, return_index=True, return_inverse=True)
    lexemes = numpy.arange(len(first))
    hidden = lexemes[:0]
    if is_train and model.attrs["word_dropout"]:
        drop = numpy.random.random(len(tokens)) < model.attrs["word_dropout"]
        dropped, places = numpy.unique(tokens[drop], return_inverse=True)
        tokens[drop] = len(first) + places
        hidden = len(first) + numpy.arange(len(dropped))
        lexemes = numpy.concatenate([lexemes, dropped])
    orths = ids[first, 0]
    vocab = docs[0].vocab
    subwords = hash_subwords(
        [vocab.strings[lower] for lower in ids[first, 1].tolist()],
        model.attrs["ngram_sizes"],
        model.attrs["prefix_sizes"],
        model.attrs["suffix_sizes"],
        MAX_CHARS,
    )
    affix_rows = [model.attrs["affix_rows"]] * subwords.affixes.shape[1]
    attrs = [
        *_table_rows(ids[first, 2:], model.attrs["rows"]),
        *_table_rows(subwords.affixes, affix_rows),
    ]
    vectors = _static_vectors(vocab, orths) if model.attrs["include_static_vectors"] else None
    ngrams = (subwords.ngrams % numpy.uint64(max(model.attrs["ngram_rows"], 1))).astype(numpy.int64)
    return numpy.stack(attrs), ngrams, subwords.starts, vectors, lexemes, hidden, tokens


def _table_rows(ids: numpy.ndarray, table_sizes: list[int]) -> numpy.ndarray:
    """Hash IDs to rows of their tables.

    ids (ndarray): The IDs of each lexeme, a column for each table. (lexemes, tables)
    table_sizes (List[int]): The number of rows of each table.
    RETURNS (ndarray): The rows. (tables, lexemes, N_HASHES)
    """
    sizes = numpy.asarray(table_sizes, dtype=numpy.uint64)
    rows = numpy.stack([mix_hash(ids, salt=i) % sizes for i in range(N_HASHES)], axis=-1)
    return rows.transpose(1, 0, 2).astype(numpy.int64)


def _static_vectors(vocab: Vocab, orths: numpy.ndarray) -> Any:
    """RETURNS (ArrayXd): The vectors of the words, zeros for those without. (lexemes, width)"""
    return vocab.vectors.get_batch(orths.tolist())


def _no_gradient(dYs: OutT) -> InT:
    return []
