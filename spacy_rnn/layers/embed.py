"""The embedding of lexemes as a Thinc layer."""

from collections.abc import Callable
from typing import Any

import numpy
from spacy.attrs import LOWER, ORTH, intify_attr
from spacy.tokens import Doc
from spacy.vectors import Mode, Vectors
from spacy.vocab import Vocab
from thinc.api import Model, get_array_module, torch2xp, xp2torch
from thinc.types import ArrayXd, Floats2d
from thinc.util import partial

from ..modules.subword import hash_subwords, mix_hash
from .ragged import flatten, no_backprop, split
from .torch_shim import TorchShim, get_shim

InT = list[Doc]
OutT = list[Floats2d]

# Words that share one row of a table seldom share two.
N_HASHES = 2
# Of a longer token, only the n-grams at both ends are read.
MAX_CHARS = 128


def lexeme_embed(shim: TorchShim, width: int, word_dropout: float) -> Model[InT, OutT]:
    """Embed the tokens of Docs, once for each distinct set of features in the batch.

    shim (TorchShim): Builds a `LexemeEmbedding`; needs `vectors_width`. Its layer settings say
        what to extract: `attrs`, `rows`, `prefix_sizes`, `suffix_sizes`, `affix_rows`,
        `ngram_sizes`, `ngram_rows` and `include_static_vectors`.
    width (int): The output width.
    word_dropout (float): The share of tokens in training of which only attributes other than
        the first are shown.
    RETURNS (Model[List[Doc], List[Floats2d]]): The layer; one row of output for each token.
    """
    # Bound to the function, and no attribute: those are stored, and would outlive the config.
    return Model(
        shim.layer,
        partial(forward, word_dropout),
        init=init,
        dims={"nO": width},
        shims=[shim],
    )


def forward(
    word_dropout: float, model: Model[InT, OutT], docs: InT, is_train: bool
) -> tuple[OutT, Callable]:
    """Embed a batch of Docs or Spans."""
    shim = get_shim(model)
    shim.require_module()
    lengths = [len(doc) for doc in docs]
    if not any(lengths):
        return [model.ops.alloc2f(0, model.get_dim("nO")) for _ in docs], lambda dYs: []
    arrays = extract_features(shim.layer_settings, docs, word_dropout if is_train else 0.0)
    keys = arrays.pop("vector_keys")
    if shim.layer_settings["include_static_vectors"]:
        arrays["vectors"] = _static_vectors(docs, keys, shim.inferred["vectors_width"])
    features = {name: xp2torch(array, device=shim.device) for name, array in arrays.items()}
    if not is_train:
        return split(torch2xp(shim.predict(**features)), lengths), no_backprop
    Yf, backprop_torch = shim.begin_update(None, **features)

    def backprop(dYs: OutT) -> InT:
        backprop_torch(flatten(model.ops, dYs, shim.device))
        return []

    return split(torch2xp(Yf), lengths), backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Look up the width of the static vectors, and make the module."""
    shim, vectors_width = get_shim(model), 0
    if shim.layer_settings["include_static_vectors"]:
        if not X:
            return
        vectors_width = X[0].vocab.vectors_length
        if not vectors_width:
            raise ValueError(
                "Setting include_static_vectors = True needs word vectors, but the vocab has "
                "none: set [initialize] vectors to a pipeline with vectors, or turn it off."
            )
    shim.initialize(vectors_width=vectors_width)


def extract_features(settings: dict[str, Any], docs: InT, word_dropout: float) -> dict[str, Any]:
    """Get the distinct lexemes' features, and which token has which.

    settings (Dict[str, Any]): The layer settings.
    docs (List[Doc]): The batch; not all of it empty.
    word_dropout (float): The share of tokens whose word is hidden.
    RETURNS (Dict[str, ndarray]): The arguments of `LexemeEmbedding.forward` but the vectors, and
        in their place `vector_keys`: each lexeme's Doc, and its key in the vectors. (lexemes, 2)
    """
    # NORM may be set by hand on a token, so that a lexeme is more than its ORTH. Subwords are
    # read in lower case: they repeat more often so, and the shape knows the case.
    vectors_attr = getattr(docs[0].vocab.vectors, "attr", ORTH)
    columns = [ORTH, LOWER, vectors_attr, *(intify_attr(attr) for attr in settings["attrs"])]
    ids = numpy.concatenate([doc.to_array(columns) for doc in docs if len(doc)])
    key = ids[:, 0]
    for column in range(2, ids.shape[1]):
        key = mix_hash(key, salt=column) ^ ids[:, column]
    _, first, tokens = numpy.unique(key, return_index=True, return_inverse=True)
    lexemes = numpy.arange(len(first))
    hidden = lexemes[:0]
    if word_dropout:
        drop = numpy.random.random(len(tokens)) < word_dropout
        dropped, places = numpy.unique(tokens[drop], return_inverse=True)
        tokens[drop] = len(first) + places
        hidden = len(first) + numpy.arange(len(dropped))
        lexemes = numpy.concatenate([lexemes, dropped])
    doc_of_token = numpy.repeat(numpy.arange(len(docs)), [len(doc) for doc in docs])
    doc_of_lexeme = doc_of_token[first]
    subwords = hash_subwords(
        # Docs of one batch may have vocabs of their own.
        [
            docs[i].vocab.strings[lower]
            for i, lower in zip(doc_of_lexeme.tolist(), ids[first, 1].tolist(), strict=True)
        ],
        settings["ngram_sizes"],
        settings["prefix_sizes"],
        settings["suffix_sizes"],
        MAX_CHARS,
    )
    affix_rows = [settings["affix_rows"]] * subwords.affixes.shape[1]
    attrs = [
        *_table_rows(ids[first, 3:], settings["rows"]),
        *_table_rows(subwords.affixes, affix_rows),
    ]
    ngrams = subwords.ngrams % numpy.uint64(max(settings["ngram_rows"], 1))
    return {
        "attrs": numpy.stack(attrs),
        "ngrams": ngrams.astype(numpy.int64),
        "ngram_starts": subwords.starts,
        "lexemes": lexemes,
        "hidden": hidden,
        "tokens": tokens,
        "vector_keys": numpy.stack([doc_of_lexeme.astype(numpy.uint64), ids[first, 2]], axis=1),
    }


def _table_rows(ids: numpy.ndarray, table_sizes: list[int]) -> numpy.ndarray:
    """Hash IDs to rows of their tables.

    ids (ndarray): The IDs of each lexeme, a column for each table. (lexemes, tables)
    table_sizes (List[int]): The number of rows of each table.
    RETURNS (ndarray): The rows. (tables, lexemes, N_HASHES)
    """
    sizes = numpy.asarray(table_sizes, dtype=numpy.uint64)
    rows = numpy.stack([mix_hash(ids, salt=i) % sizes for i in range(N_HASHES)], axis=-1)
    return rows.transpose(1, 0, 2).astype(numpy.int64)


def _static_vectors(docs: InT, keys: numpy.ndarray, width: int) -> ArrayXd:
    """Get the lexemes' vectors, zeros where there is none.

    docs (List[Doc]): The batch.
    keys (ndarray): The number of each lexeme's Doc, and its key in that Doc's vectors. (lexemes, 2)
    width (int): The width of the vectors the model was initialised with.
    RETURNS (ArrayXd): The vectors, in float32. (lexemes, width)
    """
    vocab_of_doc = numpy.asarray([id(doc.vocab) for doc in docs], dtype=numpy.uint64)
    vocab_of_lexeme = vocab_of_doc[keys[:, 0].astype(numpy.int64)]
    parts, places = [], []
    for vocab_id, vocab in {id(doc.vocab): doc.vocab for doc in docs}.items():
        places.append(numpy.flatnonzero(vocab_of_lexeme == vocab_id))
        parts.append(_look_up(vocab, keys[places[-1], 1], width))
    order = numpy.argsort(numpy.concatenate(places))
    return get_array_module(parts[0]).concatenate(parts)[order]


def _look_up(vocab: Vocab, keys: numpy.ndarray, width: int) -> ArrayXd:
    if vocab.vectors_length != width:
        raise ValueError(
            f"Setting include_static_vectors = True: the model was initialised with vectors of "
            f"width {width}, but the vocab's have width {vocab.vectors_length}. Use the pipeline "
            "with the vectors it was trained with."
        )
    found = vocab.vectors.get_batch(keys.tolist()).astype("float32")
    if isinstance(vocab.vectors, Vectors) and vocab.vectors.mode == Mode.default:
        # What isn't there has row -1, which is the last word's.
        found[vocab.vectors.find(keys=keys) < 0] = 0
    return found
