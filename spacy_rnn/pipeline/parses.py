"""Dependency parses: how they are read from annotation, and set on Docs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy
from spacy.attrs import DEP, HEAD, IDX, IS_SPACE, ORTH, SENT_START
from spacy.tokens import Doc, Token
from spacy.training import Example

from ..modules.parser.biaffine import Truth
from ..modules.parser.sentences import find_starts
from .extensions import Extension

# The label of a sentence's root, as spaCy's parser sets it, and of white space.
ROOT, SPACE = "ROOT", "dep"


@dataclass
class Parse:
    """The parse of a Doc.

    words (ndarray): Which tokens are not white space. (n,)
    starts (ndarray): Whether each starts a sentence. (n,)
    heads (ndarray): The head of each: 0 for the root, i + 1 for word i of the sentence. (n,)
    labels (ndarray): The number of each arc's label. (n,)
    probabilities (ndarray): The probability of each arc. (n,)
    """

    words: numpy.ndarray
    starts: numpy.ndarray
    heads: numpy.ndarray
    labels: numpy.ndarray
    probabilities: numpy.ndarray

    @classmethod
    def make_empty(cls) -> "Parse":
        """RETURNS (Parse): The parse of a Doc without tokens."""
        kinds = ("int64", "bool", "int64", "int64", "float32")
        return cls(*(numpy.zeros(0, dtype=kind) for kind in kinds))


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


def read_words(doc: Doc) -> numpy.ndarray:
    """RETURNS (ndarray): The tokens that are not white space. If there are no others, the first."""
    words = numpy.flatnonzero(doc.to_array(IS_SPACE) == 0)
    return words if len(words) else numpy.arange(len(doc))[:1]


def read_starts(doc: Doc, words: numpy.ndarray) -> numpy.ndarray:
    """RETURNS (ndarray): Of each word 1 if it is known to start a sentence, -1 if it is known not
    to, and 0 if that is not known.
    """
    starts: numpy.ndarray = doc.to_array(SENT_START).astype("int64")[words]
    return starts


def read_labels(eg: Example) -> list[str]:
    """RETURNS (List[str]): The labels of an example's arcs, but for the roots'."""
    heads, deps = eg.reference.to_array([HEAD, DEP]).reshape(-1, 2).T
    strings = eg.reference.vocab.strings
    return [strings[dep] for dep in {*deps[heads != 0].tolist()} - {0, strings[ROOT]}]


def read_truth(
    examples: Iterable[Example],
    words: Iterable[numpy.ndarray],
    boundaries: Iterable[numpy.ndarray],
    numbers: dict[int, int],
    max_length: int,
) -> Truth:
    """Read the annotation of a batch. What is not annotated, or not for these tokens, is not known.

    examples (Iterable[Example]): The batch.
    words (Iterable[ndarray]): The words of each predicted Doc.
    boundaries (Iterable[ndarray]): The score of each as the start of a sentence.
    numbers (Dict[int, int]): The number of each label.
    max_length (int): The most tokens in a sentence.
    RETURNS (Truth): The annotation.
    RAISES (KeyError): If a label has no number.
    """
    truths = [
        _read_example(eg, i, scores, numbers, max_length)
        for eg, i, scores in zip(examples, words, boundaries, strict=True)
    ]
    lengths, heads, labels, starts = map(numpy.concatenate, zip(*truths, strict=True))
    return Truth(lengths, heads, labels, starts)


def _read_example(
    eg: Example, words: numpy.ndarray, scores: numpy.ndarray, numbers: dict[int, int], longest: int
) -> tuple[numpy.ndarray, ...]:
    all_heads, deps, all_starts = _read_aligned(eg)
    places = numpy.full(len(eg.predicted) + 1, -1)
    places[words] = numpy.arange(len(words))
    heads, deps, given = places[all_heads[words]], deps[words], all_starts[words]
    # Where boundaries are not known, arcs may cross them.
    starts = find_starts(scores, numpy.where(given == 1, 1, -1), longest)
    lengths = count_tokens(starts)
    sentence = numpy.cumsum(starts) - 1
    firsts = numpy.flatnonzero(starts)[sentence]
    is_root = heads == numpy.arange(len(words))
    is_known = (heads >= 0) & (sentence[heads] == sentence)
    labels = numpy.full(len(words), -1)
    has_label = is_known & ~is_root
    labels[has_label] = [numbers[dep] for dep in deps[has_label].tolist()]
    heads = numpy.where(is_root, 0, heads - firsts + 1)
    given[:1] = 0
    starts = numpy.where(given == 0, -1, given == 1)
    return lengths, numpy.where(is_known, heads, -1), labels, starts


def _read_aligned(eg: Example) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray, ndarray]): Of each predicted token its head, -1 if it is not
    known, its label's hash, and 1, -1 or 0 as in `read_starts`.
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


def set_parse(doc: Doc, parse: Parse, labels: Iterable[str], extension: Extension) -> None:
    """Set heads, labels and sentence starts of a Doc, and store the probability of each arc. White
    space depends on the word before it, or on the first one.

    doc (Doc): The Doc.
    parse (Parse): Its parse.
    labels (Iterable[str]): The labels by number.
    extension (Extension): The extension attribute with the probabilities.
    """
    if not len(doc):
        return
    words, n = parse.words, len(parse.words)
    sentence = numpy.cumsum(parse.starts) - 1
    firsts = numpy.flatnonzero(parse.starts)
    is_root = parse.heads == 0
    places = numpy.where(is_root, numpy.arange(n), firsts[sentence] + parse.heads - 1)
    # A sentence that is longer than can be parsed keeps its parts together.
    is_part = read_starts(doc, words)[firsts] == -1
    whole = numpy.maximum.accumulate(numpy.where(is_part, 0, numpy.arange(len(firsts))))
    roots = numpy.flatnonzero(is_root)
    places[roots] = roots[whole]
    strings = doc.vocab.strings
    hashes = numpy.array([*map(strings.add, (ROOT, SPACE, *labels))], dtype="uint64")
    before = numpy.searchsorted(words, numpy.arange(len(doc)), side="right") - 1
    heads = words[numpy.maximum(before, 0)]
    heads[words] = words[places]
    deps = numpy.full(len(doc), hashes[1])
    deps[words] = numpy.where(is_root, hashes[0], hashes[2:][parse.labels])
    deps[words[roots[is_part]]] = hashes[1]
    offsets = (heads - numpy.arange(len(doc))).astype("uint64")
    array: Any = numpy.stack([offsets, deps], axis=1)
    doc.from_array([HEAD, DEP], array)
    if extension.is_ours:
        characters = doc.to_array(IDX).astype("int64")
        arcs = zip(
            characters[words].tolist(),
            parse.probabilities.tolist(),
            (characters[heads[words]] - characters[words]).tolist(),
            strict=True,
        )
        user_data: dict[Any, Any] = doc.user_data
        user_data.update({("._.", extension.name, i, None): (p, to) for i, p, to in arcs})
