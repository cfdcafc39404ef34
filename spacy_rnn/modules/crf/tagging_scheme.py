"""How labelled spans that do not overlap are written as one tag for each token.

Everything is computed with BILUO tags (Ratinov & Roth 2009): they say by themselves whether a
span ends, so that all that is known of a token is a set of tags it may have. IOB2 gives the tags
in fewer words: its B stands for B and U, its I for I and L, and what is learned of one of its
tags or of two that follow each other is used for all that it stands for.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from .transitions import Places, Transitions, find_places

Number = TypeVar("Number", int, np.ndarray)

# In the order in which tags are numbered; O is between B and U.
INSIDE, BEGIN, UNIT, LAST = range(4)
# Which of a label's learned tags each of them is.
_LEARNED = {"biluo": (1, 0, 3, 2), "iob2": (1, 0, 0, 1)}
SCHEMES = sorted(_LEARNED)


@dataclass(frozen=True)
class TaggingScheme:
    """The tags of a number of labels: I of each label, B of each, O, U of each, L of each, so that
    tags with the same legal transitions are adjacent (see `Transitions`).

    Learned tags are O and then the tags of each label, so that labels can be added at the end.

    name (str): "biluo" or "iob2": the tags that scores are learned for.
    n_labels (int): The number of labels.
    """

    name: str
    n_labels: int

    @property
    def n_tags(self) -> int:
        """RETURNS (int): The number of BILUO tags."""
        return 1 + 4 * self.n_labels

    @property
    def n_learned(self) -> int:
        """RETURNS (int): The number of tags that scores are learned for."""
        return 1 + (max(_LEARNED[self.name]) + 1) * self.n_labels

    @property
    def outside(self) -> int:
        """RETURNS (int): The number of the tag O."""
        return 2 * self.n_labels

    def get_tag(self, label: Number, part: int) -> Number:
        """Get the number of a tag.

        label (Union[int, ndarray]): The number of the label.
        part (int): BEGIN, INSIDE, LAST or UNIT.
        RETURNS (Union[int, ndarray]): The number of the tag.
        """
        return label + (part * self.n_labels + (part in (UNIT, LAST)))

    def get_span_tags(self, label: int, length: int) -> list[int]:
        """Get the tags of a span.

        label (int): The number of its label.
        length (int): The number of its tokens, at least one.
        RETURNS (List[int]): The tags.
        """
        if length == 1:
            return [self.get_tag(label, UNIT)]
        parts = [BEGIN, *[INSIDE] * (length - 2), LAST]
        return [self.get_tag(label, part) for part in parts]

    def get_spans(self, tags: list[int]) -> list[tuple[int, int, int]]:
        """Read a legal sequence of tags.

        tags (List[int]): The tags.
        RETURNS (List[Tuple[int, int, int]]): The start, the end (exclusive) and the label of each
            span.
        """
        spans = []
        start = 0
        for i, tag in enumerate(tags):
            if tag == self.outside:
                continue
            part, label = divmod(tag - (tag > self.outside), self.n_labels)
            if part in (BEGIN, UNIT):
                start = i
            if part in (LAST, UNIT):
                spans.append((start, i + 1, label))
        return spans

    def get_learned(self) -> np.ndarray:
        """RETURNS (ndarray): The learned tag whose scores each tag uses. (n_tags,)"""
        return _get_learned(self)

    def add_learned(self, values: np.ndarray) -> np.ndarray:
        """Add up the values of the tags that use the same learned tag's scores.

        values (ndarray): The values. (n, n_tags)
        RETURNS (ndarray): The sums. (n, n_learned)
        """
        sums = np.zeros((len(values), self.n_learned), dtype=values.dtype)
        sums[:, 0] = values[:, self.outside]
        columns = _LEARNED[self.name]
        for part, column in enumerate(columns):
            first = self.get_tag(0, part)
            sums[:, 1 + column :: 1 + max(columns)] += values[:, first : first + self.n_labels]
        return sums

    def select_legal(self, scores: np.ndarray) -> Transitions:
        """Choose the legal transitions.

        scores (ndarray): The scores of a learned tag (column) after another.
            (n_learned, n_learned)
        RETURNS (Transitions): The scores of tags after others.
        """
        return Transitions.from_matrix(scores, _get_places(self))

    def add_legal(self, transitions: Transitions) -> np.ndarray:
        """Add up the numbers of the transitions that use the same score.

        transitions (Transitions): Numbers of tags after others.
        RETURNS (ndarray): The sums of a learned tag (column) after another.
            (n_learned, n_learned)
        """
        return transitions.to_matrix(_get_places(self), self.n_learned)

    def get_parts(self, *parts: int) -> np.ndarray:
        """Find the tags that are one of the given parts of a span.

        parts (int): BEGIN, INSIDE, LAST or UNIT.
        RETURNS (ndarray): Whether each tag is. (n_tags,)
        """
        return _get_parts(self, *parts)


# Cached, as for a single text, to make them takes longer than to decode.
@lru_cache(maxsize=64)
def _get_learned(scheme: TaggingScheme) -> np.ndarray:
    parts = np.array(_LEARNED[scheme.name])
    learned = 1 + (parts.max() + 1) * np.arange(scheme.n_labels) + parts[:, None]
    return _insert_outside(learned.ravel(), 0)


@lru_cache(maxsize=64)
def _get_places(scheme: TaggingScheme) -> Places:
    return find_places(_get_learned(scheme))


@lru_cache(maxsize=64)
def _get_parts(scheme: TaggingScheme, *parts: int) -> np.ndarray:
    of_label = np.zeros(4, dtype=bool)
    of_label[list(parts)] = True
    return _insert_outside(of_label.repeat(scheme.n_labels), False)


def _insert_outside(values: np.ndarray, value: int) -> np.ndarray:
    values = np.insert(values, len(values) // 2, value)
    # Shared by all callers.
    values.flags.writeable = False
    return values
