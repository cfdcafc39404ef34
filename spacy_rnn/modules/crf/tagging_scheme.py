"""How labelled spans that do not overlap are written as one tag for each token.

Everything is computed with BILUO tags (Ratinov & Roth 2009): they say by themselves whether a
span ends, so that all that is known of a token is a set of tags it may have. IOB2 gives the tags
in fewer words: its B stands for B and U, its I for I and L, and what is learned of one of its
tags or of two that follow each other is used for all that it stands for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

import torch

from .transitions import Places, Transitions, find_places

Method = TypeVar("Method", bound=Callable[..., Any])
Number = TypeVar("Number", int, torch.Tensor)

# In the order in which tags are numbered; O is between B and U.
INSIDE, BEGIN, UNIT, LAST = range(4)
# Which of a label's learned tags each of them is.
_LEARNED = {"biluo": (1, 0, 3, 2), "iob2": (1, 0, 0, 1)}
SCHEMES = sorted(_LEARNED)


def _cached(compute: Method) -> Method:
    """Cache what a method returns for a scheme: for a single text, to make it takes longer than to
    decode. The tensors are shared, so that nobody may write to them.
    """

    @lru_cache(maxsize=64)
    @wraps(compute)
    def compute_once(scheme: "TaggingScheme", *args: int) -> Any:
        # What is made in inference mode is of no use for training.
        with torch.inference_mode(False):
            return compute(scheme, *args)

    return cast(Method, compute_once)


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

        label (Union[int, Tensor]): The number of the label.
        part (int): BEGIN, INSIDE, LAST or UNIT.
        RETURNS (Union[int, Tensor]): The number of the tag.
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

    @_cached
    def get_learned(self) -> torch.Tensor:
        """RETURNS (Tensor): The learned tag whose scores each tag uses. (n_tags,)"""
        parts = torch.tensor(_LEARNED[self.name])
        size = int(parts.max()) + 1
        learned = 1 + size * torch.arange(self.n_labels) + parts[:, None]
        return self._insert_outside(learned.flatten(), 0)

    def select_legal(self, scores: torch.Tensor) -> Transitions:
        """Choose the legal transitions.

        scores (Tensor): The scores of a learned tag (column) after another.
            (n_learned, n_learned)
        RETURNS (Transitions): The scores of tags after others.
        """
        outer, to_outer, inner, to_inner = (place.to(scores.device) for place in self._get_places())
        return Transitions.from_matrix(scores, (outer, to_outer, inner, to_inner))

    @_cached
    def _get_places(self) -> Places:
        return find_places(self.get_learned())

    @_cached
    def get_parts(self, *parts: int) -> torch.Tensor:
        """Find the tags that are one of the given parts of a span.

        parts (int): BEGIN, INSIDE, LAST or UNIT.
        RETURNS (Tensor): Whether each tag is. (n_tags,)
        """
        of_label = torch.zeros(4, dtype=torch.bool)
        of_label[list(parts)] = True
        return self._insert_outside(of_label.repeat_interleave(self.n_labels), False)

    def _insert_outside(self, values: torch.Tensor, value: int) -> torch.Tensor:
        outside = values.new_full((1,), value)
        return torch.cat([values[: self.outside], outside, values[self.outside :]])
