"""Strings of tokens: how they are read from Docs, and written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from spacy.attrs import LEMMA, MORPH, NORM, ORTH, POS
from spacy.tokens import Doc, Token
from spacy.training import Example

from .string_table import Key

# The attributes of tokens that are strings. Others are extension attributes, "_.NAME".
ATTRIBUTES = {"TEXT": ORTH, "NORM": NORM, "LEMMA": LEMMA}
_EMPTY_MORPH = "_"


@dataclass
class Written:
    """What was written for the tokens of a Doc.

    strings (List[str]): The strings.
    writers (List[str]): What wrote each: "table", "lookups", "edit", "decoder" or "fallback".
    """

    strings: list[str]
    writers: list[str]


class Tokens:
    """The tokens of a batch of Docs.

    docs (Sequence[Doc]): The Docs.
    attribute (str): The attribute that is read.

    keys (List[Tuple[str, str, str]]): The distinct strings with their part of speech and features.
    numbers (ndarray): The number of each token's key. (N,)
    lengths (List[int]): The number of tokens of each Doc.
    """

    def __init__(self, docs: Sequence[Doc], attribute: str):
        self.keys: list[Key] = []
        self.lengths = [len(doc) for doc in docs]
        known: dict[tuple[Any, int, int], int] = {}
        numbers = []
        for doc in docs:
            for found in _iterate_attributes(doc, attribute):
                number = known.get(found)
                if number is None:
                    number = known[found] = len(self.keys)
                    self.keys.append(_make_key(doc, *found))
                numbers.append(number)
        self.numbers = numpy.asarray(numbers, dtype="int64")


def read_keys(doc: Doc, attribute: str) -> list[Key]:
    """RETURNS (List[Tuple[str, str, str]]): The string, part of speech and features of each
    token.
    """
    tokens = Tokens([doc], attribute)
    return [tokens.keys[number] for number in tokens.numbers]


def _iterate_attributes(doc: Doc, attribute: str) -> Any:
    """RETURNS (Iterable[Tuple[Any, int, int]]): Of each token the attribute, its hash or the string
    itself, and the hashes of the part of speech and the features.
    """
    first = ATTRIBUTES.get(attribute, ORTH)
    columns = doc.to_array([first, POS, MORPH]).reshape(-1, 3).T.tolist()
    if attribute not in ATTRIBUTES:
        columns[0] = read_strings(doc, attribute)
    return zip(*columns, strict=True)


def _make_key(doc: Doc, source: Any, pos: int, morph: int) -> Key:
    strings = doc.vocab.strings
    features = strings[morph] if morph else ""
    return (
        source if isinstance(source, str) else strings[source],
        strings[pos] if pos else "",
        "" if features == _EMPTY_MORPH else features,
    )


def read_strings(doc: Doc, attribute: str) -> list[str]:
    """RETURNS (List[str]): An attribute of each token. Empty strings where it is not set."""
    if attribute == "NORM":
        return [token.norm_ for token in doc]
    if attribute == "LEMMA":
        return [token.lemma_ for token in doc]
    if attribute == "TEXT":
        return [token.text for token in doc]
    return [token._.get(attribute[2:]) or "" for token in doc]


def read_gold(eg: Example, read: Callable[[Doc], list[str]]) -> list[str]:
    """RETURNS (List[str]): The gold strings of the predicted tokens. Empty strings where they are
    missing, or a token is not aligned with exactly one.
    """
    strings = read(eg.reference)
    if numpy.array_equal(eg.predicted.to_array([ORTH]), eg.reference.to_array([ORTH])):
        return strings
    x2y, y2x = eg.alignment.x2y, eg.alignment.y2x
    gold = []
    for i in range(len(eg.predicted)):
        is_single = x2y.lengths[i] == 1 and y2x.lengths[x2y[i][0]] == 1
        gold.append(strings[x2y[i][0]] if is_single else "")
    return gold


def write_strings(doc: Doc, attribute: str, strings: Sequence[str], overwrite: bool) -> None:
    """Set an attribute of each token. One that is set stays, unless `overwrite` is true."""
    if attribute == "LEMMA":
        add = doc.vocab.strings.add
        hashes = {string: add(string) for string in set(strings)}
        lemmas: Any = numpy.asarray([hashes[string] for string in strings], dtype="uint64")
        if not overwrite:
            old = doc.to_array(LEMMA)
            lemmas = numpy.where(old, old, lemmas)
        # Each token object that is made takes longer than all of this.
        doc.from_array([LEMMA], lemmas)
    elif attribute == "NORM":
        for token, string in zip(doc, strings, strict=True):
            if overwrite or _has_default_norm(token):
                token.norm_ = string
    else:
        name = attribute[2:]
        for token, string in zip(doc, strings, strict=True):
            if overwrite or not token._.get(name):
                token._.set(name, string)


def _has_default_norm(token: Token) -> bool:
    return bool(token.norm == token.lex.norm)
