"""Dependency parses: how they are read from annotation, and set on Docs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from spacy.attrs import DEP, HEAD, IDX, IS_SPACE, ORTH, SENT_START
from spacy.tokens import Doc, Token
from spacy.training import Example

from ..layers.ragged import split
from ..modules.parser.biaffine import Truth
from ..modules.parser.sentences import find_starts
from .extensions import Extension

# The label of a sentence's root, as spaCy's parser sets it, and of white space.
ROOT, SPACE = "ROOT", "dep"


# Labels by number end with these two.
ROOT_NUMBER, SPACE_NUMBER = -1, -2


@dataclass
class Parse:
    """The parse of a Doc. All arrays are (tokens,).

    heads (ndarray): How far each token's head is from it.
    labels (ndarray): The number of each arc's label, `ROOT_NUMBER` or `SPACE_NUMBER`.
    probabilities (ndarray): The probability of each arc, not a number for white space.
    """

    heads: numpy.ndarray
    labels: numpy.ndarray
    probabilities: numpy.ndarray

    @classmethod
    def make_empty(cls) -> "Parse":
        """RETURNS (Parse): The parse of a Doc without tokens."""
        return cls(*(numpy.zeros(0, dtype="int64") for _ in range(3)))


class Words:
    """The words of a batch of Docs: its tokens without white space. A Doc of white space has one.

    docs (List[Doc]): The Docs.

    n_tokens (List[int]): The number of tokens of each Doc.
    tokens (ndarray): The number of each word among all tokens. (n,)
    firsts (ndarray): The first word of each Doc that has words.
    starts (ndarray): 1 if a word starts a sentence or a Doc, -1 if it is known not to start one, 0
        if that is not known. (n,)
    nearest (ndarray): The word that each token is, or the one before it in its Doc, or its Doc's
        first. (tokens,)
    """

    def __init__(self, docs: Sequence[Doc]):
        self.n_tokens = [len(doc) for doc in docs]
        arrays = [doc.to_array([IS_SPACE, SENT_START]).reshape(-1, 2) for doc in docs]
        is_space, starts = numpy.concatenate(arrays).astype("int64").T
        first_tokens = numpy.cumsum([0, *self.n_tokens[:-1]])[numpy.asarray(self.n_tokens) > 0]
        n_words = numpy.add.reduceat(1 - is_space, first_tokens)
        is_space[first_tokens[n_words == 0]] = 0
        self.tokens = numpy.flatnonzero(is_space == 0)
        self.firsts = numpy.searchsorted(self.tokens, first_tokens)
        self.starts = starts[self.tokens]
        self.starts[self.firsts] = 1
        nearest = numpy.cumsum(1 - is_space) - 1
        lengths = numpy.diff(first_tokens, append=len(is_space))
        self.nearest = numpy.maximum(nearest, numpy.repeat(self.firsts, lengths))

    def make_parses(
        self,
        starts: numpy.ndarray,
        heads: numpy.ndarray,
        labels: numpy.ndarray,
        probabilities: numpy.ndarray,
    ) -> list[Parse]:
        """Make the parses of the Docs. White space depends on the word before it, or on the first.

        starts (ndarray): Whether each word starts a sentence. (n,)
        heads (ndarray): The row of each word's head, -1 for the root. (n,)
        labels (ndarray): The number of each arc's label. (n,)
        probabilities (ndarray): The probability of each arc. (n,)
        RETURNS (List[Parse]): The parse of each Doc.
        """
        roots, firsts = numpy.flatnonzero(heads < 0), numpy.flatnonzero(starts)
        # A sentence that is longer than can be parsed keeps its parts together.
        is_part = self.starts[firsts] == -1
        whole = numpy.maximum.accumulate(numpy.where(is_part, 0, numpy.arange(len(firsts))))
        heads, labels = heads.copy(), labels.copy()
        heads[roots] = roots[whole]
        labels[roots] = numpy.where(is_part, SPACE_NUMBER, ROOT_NUMBER)
        all_heads = self.tokens[self.nearest]
        all_heads[self.tokens] = self.tokens[heads]
        all_labels = numpy.full(len(all_heads), SPACE_NUMBER)
        all_labels[self.tokens] = labels
        all_probabilities = numpy.full(len(all_heads), numpy.nan, dtype=probabilities.dtype)
        all_probabilities[self.tokens] = probabilities
        offsets = all_heads - numpy.arange(len(all_heads))
        parts = (split(array, self.n_tokens) for array in (offsets, all_labels, all_probabilities))
        return [Parse(*arrays) for arrays in zip(*parts, strict=True)]


@dataclass(frozen=True)
class HeadProbability:
    """Gets the stored probability of the arc to a token's head, or None. Of the tokens that were
    merged to one, that is the arc of the one whose head is not among them. Takes the extension
    attribute's name.
    """

    name: str

    def __call__(self, token: Token) -> float | None:
        stored: dict[Any, Any] = token.doc.user_data
        start, end = token.idx, token.idx + max(len(token), 1)
        for i in range(start, end):
            probability, distance = stored.get(("._.", self.name, i, None), (None, 0))
            # A root is its own head.
            if probability is not None and (distance == 0 or not start <= i + distance < end):
                return probability
        return None


def read_labels(eg: Example) -> list[str]:
    """RETURNS (List[str]): The labels of an example's arcs, but for the roots'."""
    heads, deps = eg.reference.to_array([HEAD, DEP]).reshape(-1, 2).T
    strings = eg.reference.vocab.strings
    return [strings[dep] for dep in {*deps[heads != 0].tolist()} - {0, strings[ROOT]}]


def read_truth(
    examples: Sequence[Example],
    words: Words,
    scores: numpy.ndarray,
    numbers: dict[int, int],
    max_length: int,
) -> Truth:
    """Read the annotation of a batch. What is not annotated, or not for these tokens, is not known.

    examples (Sequence[Example]): The batch.
    words (Words): The words of the predicted Docs.
    scores (ndarray): The score of each as the start of a sentence. (n,)
    numbers (Dict[int, int]): The number of each label.
    max_length (int): The most tokens in a sentence.
    RETURNS (Truth): The annotation.
    RAISES (KeyError): If a label has no number.
    """
    arrays = zip(*map(_read_aligned, examples), strict=True)
    heads, deps, starts = (numpy.concatenate(each)[words.tokens] for each in arrays)
    rows = numpy.arange(len(heads))
    places = numpy.full(sum(words.n_tokens), -1)
    places[words.tokens] = rows
    before = numpy.cumsum(words.n_tokens) - words.n_tokens
    first_tokens = numpy.repeat(before, words.n_tokens)[words.tokens]
    heads = numpy.where(heads < 0, -1, places[heads + first_tokens])
    # Where boundaries are not known, arcs may cross them.
    given = numpy.where(starts == 1, 1, -1)
    given[words.firsts] = 1
    is_start = find_starts(scores, given, max_length)
    sentence = numpy.cumsum(is_start) - 1
    first_words = numpy.flatnonzero(is_start)[sentence]
    is_root, is_known = heads == rows, (heads >= 0) & (sentence[heads] == sentence)
    labels = numpy.full(len(rows), -1)
    has_label = is_known & ~is_root
    labels[has_label] = [numbers[dep] for dep in deps[has_label].tolist()]
    heads = numpy.where(is_root, 0, heads - first_words + 1)
    # A Doc's first word is a start in any case.
    starts[words.firsts] = 0
    starts = numpy.where(starts == 0, -1, starts == 1)
    return Truth(count_tokens(is_start), numpy.where(is_known, heads, -1), labels, starts)


def _read_aligned(eg: Example) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray, ndarray]): Of each predicted token its head, -1 if it is not
    known, its label's hash, and 1, -1 or 0 as in `Words.starts`.
    """
    attrs = [ORTH, HEAD, DEP, SENT_START]
    gold, n = eg.reference.to_array(attrs).reshape(-1, len(attrs)), len(eg.predicted)
    orths, offsets, deps, starts = gold.T
    if numpy.array_equal(orths, eg.predicted.to_array(ORTH)):
        heads = numpy.arange(n) + offsets.astype("int64")
        starts = starts.astype("int64")
    else:
        aligned = zip(*eg.get_aligned_parse(projectivize=False), strict=True)
        pairs = [(-1, "") if head is None else (head, dep or "") for head, dep in aligned]
        strings = eg.predicted.vocab.strings
        heads = numpy.array([head for head, _ in pairs], dtype="int64")
        deps = numpy.array([strings.add(dep) if dep else 0 for _, dep in pairs], dtype="uint64")
        found = eg.get_aligned_sent_starts()
        starts = numpy.array([0 if is_start is None else 2 * is_start - 1 for is_start in found])
    # Where some tokens have no head, spaCy takes them for tokens inside a sentence.
    if deps.any():
        starts = numpy.where(deps == 0, 0, starts)
    return numpy.where(deps == 0, -1, heads), deps, starts


def count_tokens(starts: numpy.ndarray) -> numpy.ndarray:
    """RETURNS (ndarray): The number of tokens of each sentence."""
    return numpy.diff(numpy.flatnonzero(starts), append=len(starts))


def set_parse(doc: Doc, parse: Parse, hashes: numpy.ndarray, extension: Extension) -> None:
    """Set heads, labels and sentence starts of a Doc, and store the probability of each arc.

    doc (Doc): The Doc.
    parse (Parse): Its parse.
    hashes (ndarray): The labels' hashes by number.
    extension (Extension): The extension attribute with the probabilities.
    """
    if not len(doc):
        return
    columns = [parse.heads.astype("uint64"), hashes[parse.labels]]
    array: Any = numpy.stack(columns, axis=1)
    doc.from_array([HEAD, DEP], array)
    if extension.is_ours:
        places = doc.to_array(IDX).astype("int64")
        distances = places[numpy.arange(len(doc)) + parse.heads] - places
        lists = (places.tolist(), parse.probabilities.tolist(), distances.tolist())
        user_data: dict[Any, Any] = doc.user_data
        for place, probability, distance in zip(*lists, strict=True):
            # White space has none.
            if probability == probability:
                user_data["._.", extension.name, place, None] = (probability, distance)
