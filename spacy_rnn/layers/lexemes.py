"""The distinct lexemes of a batch of Docs, and their features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from spacy.attrs import LOWER, ORTH, intify_attr
from spacy.tokens import Doc

from ..modules.embed.sizes import FILTER_BITS, FILTER_HASHES
from ..modules.embed.subword import hash_subwords, mix_hash

# Words that share one row of a table seldom share two.
N_HASHES = 2
FILTER_SALTS = range(N_HASHES, N_HASHES + FILTER_HASHES)
# Longer tokens are read at both ends only.
MAX_CHARS = 128


@dataclass(frozen=True)
class Lexemes:
    """The distinct lexemes of tokens. Tokens with the same ORTH may differ in other attributes,
    such as a NORM that was set by hand.

    tokens (ndarray): The lexeme of each token. (N,)
    docs (ndarray): The number of a Doc with each lexeme. (n,)
    lowers (ndarray): The IDs of the lower-case forms. (n,)
    vector_keys (ndarray): The keys in the vocab's vectors. (n,)
    attrs (ndarray): The values of the embedded attributes. (n, attributes)
    """

    tokens: numpy.ndarray
    docs: numpy.ndarray
    lowers: numpy.ndarray
    vector_keys: numpy.ndarray
    attrs: numpy.ndarray


class Tokens:
    """The tokens of a batch of Docs, one after another.

    docs (Sequence[Doc]): The Docs; not all of them empty.
    attrs (Sequence[str]): The attributes to embed.
    """

    def __init__(self, docs: Sequence[Doc], attrs: Sequence[str]):
        self.docs = docs
        vectors_attr = getattr(docs[0].vocab.vectors, "attr", ORTH)
        columns = [ORTH, LOWER, vectors_attr, *(intify_attr(attr) for attr in attrs)]
        parts = [doc.to_array(columns) for doc in docs if len(doc)]
        self._ids = numpy.concatenate(parts) if len(parts) > 1 else parts[0]
        self.keys = _hash_rows(self._ids)

    def get_lexemes(self, which: numpy.ndarray | None = None) -> Lexemes:
        """Find the distinct lexemes.

        which (Optional[ndarray]): Numbers of tokens; None for all. (N,)
        RETURNS (Lexemes): The lexemes of those tokens.
        """
        doc_of_token = numpy.repeat(numpy.arange(len(self.docs)), [len(doc) for doc in self.docs])
        keys, ids = self.keys, self._ids
        if which is not None:
            keys, ids, doc_of_token = keys[which], ids[which], doc_of_token[which]
        _, first, tokens = numpy.unique(keys, return_index=True, return_inverse=True)
        ids = ids[first]
        return Lexemes(tokens, doc_of_token[first], ids[:, 1], ids[:, 2], ids[:, 3:])


def _hash_rows(ids: numpy.ndarray) -> numpy.ndarray:
    """Hash IDs to one number for each row. (rows, columns) to (rows,)"""
    keys = mix_hash(ids, salt=numpy.arange(ids.shape[1]))
    return numpy.bitwise_xor.reduce(keys, axis=1)


def extract_features(
    settings: dict[str, Any], docs: Sequence[Doc], lexemes: Lexemes, word_dropout: float
) -> dict[str, numpy.ndarray]:
    """Get the features of lexemes and tokens.

    settings (Dict[str, Any]): `rows`, `prefix_sizes`, `suffix_sizes`, `affix_rows`, `ngram_sizes`
        and `ngram_rows`.
    docs (Sequence[Doc]): The batch.
    lexemes (Lexemes): Its lexemes.
    word_dropout (float): The share of tokens whose word is masked.
    RETURNS (Dict[str, ndarray]): The arguments of `LexemeEmbedding.forward` except the vectors.
    """
    tokens = lexemes.tokens
    results = numpy.arange(len(lexemes.docs))
    masked = results[:0]
    if word_dropout:
        drop = numpy.random.random(len(tokens)) < word_dropout
        dropped, places = numpy.unique(tokens[drop], return_inverse=True)
        tokens = tokens.copy()
        tokens[drop] = len(results) + places
        masked = len(results) + numpy.arange(len(dropped))
        results = numpy.concatenate([results, dropped])
    # In lower case, subwords repeat more often; the shape has the case. Docs of one batch may have
    # different vocabs.
    strings = zip(lexemes.docs.tolist(), lexemes.lowers.tolist(), strict=True)
    subwords = hash_subwords(
        [docs[i].vocab.strings[lower] for i, lower in strings],
        settings["ngram_sizes"],
        settings["prefix_sizes"],
        settings["suffix_sizes"],
        MAX_CHARS,
    )
    n_affixes, affix_rows = subwords.affixes.shape[1], settings["affix_rows"]
    affixes = _table_rows(subwords.affixes, [affix_rows] * n_affixes, range(N_HASHES))
    affixes += affix_rows * numpy.arange(n_affixes)[:, None]
    ngrams = subwords.ngrams % numpy.uint64(max(settings["ngram_rows"], 1))
    return {
        "attrs": _table_rows(lexemes.attrs, settings["rows"], range(N_HASHES)).swapaxes(0, 1),
        "affixes": affixes,
        "ngrams": ngrams.astype(numpy.int64),
        "ngram_starts": subwords.starts,
        "lexemes": results,
        "masked": masked,
        "tokens": tokens,
        "words": _table_rows(lexemes.attrs[:, :1], [FILTER_BITS], FILTER_SALTS)[:, 0],
    }


def _table_rows(ids: numpy.ndarray, table_sizes: list[int], salts: Sequence[int]) -> numpy.ndarray:
    """Hash IDs to rows of their tables.

    ids (ndarray): The IDs of each lexeme, a column for each table. (lexemes, tables)
    table_sizes (List[int]): The number of rows of each table.
    salts (Sequence[int]): Choose the hash functions.
    RETURNS (ndarray): The rows. (lexemes, tables, salts)
    """
    sizes = numpy.asarray(table_sizes, dtype=numpy.uint64)
    rows = numpy.stack([mix_hash(ids, salt=salt) % sizes for salt in salts], axis=-1)
    return rows.astype(numpy.int64)
