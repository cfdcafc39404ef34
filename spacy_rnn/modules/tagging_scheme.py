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

Method = TypeVar("Method", bound=Callable[..., Any])

OUTSIDE = 0
BEGIN, INSIDE, LAST, UNIT = range(4)
# Which of a label's learned tags each of B, I, L and U is.
_LEARNED = {"biluo": (0, 1, 2, 3), "iob2": (0, 1, 1, 0)}
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
    """The tags of a number of labels. Tag 0 is O, and every label has four tags of its own, so
    that labels can be added at the end.

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

    def get_tag(self, label: int, part: int) -> int:
        """Get the number of a tag.

        label (int): The number of the label.
        part (int): BEGIN, INSIDE, LAST or UNIT.
        RETURNS (int): The number of the tag.
        """
        return 1 + 4 * label + part

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
            if tag == OUTSIDE:
                continue
            label, part = divmod(tag - 1, 4)
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
        learned = 1 + size * torch.arange(self.n_labels)[:, None] + parts
        return torch.cat([torch.zeros(1, dtype=torch.long), learned.flatten()])

    @_cached
    def get_parts(self, *parts: int) -> torch.Tensor:
        """Find the tags that are one of the given parts of a span.

        parts (int): BEGIN, INSIDE, LAST or UNIT.
        RETURNS (Tensor): Whether each tag is. (n_tags,)
        """
        of_label = torch.zeros(4, dtype=torch.bool)
        of_label[list(parts)] = True
        return torch.cat([torch.zeros(1, dtype=torch.bool), of_label.repeat(self.n_labels)])

    @_cached
    def get_legal(self) -> torch.Tensor:
        """RETURNS (Tensor): Whether a tag may follow another one. (n_tags from, n_tags to)"""
        open_before, goes_on = self.get_parts(BEGIN, INSIDE), self.get_parts(INSIDE, LAST)
        labels = torch.cat([torch.tensor([-1]), torch.arange(self.n_labels).repeat_interleave(4)])
        same_label = labels[:, None] == labels
        inside = open_before[:, None] & goes_on & same_label
        return inside | (~open_before[:, None] & ~goes_on)

    @_cached
    def get_groups(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Get the legal transitions in groups, as `find_best` takes them: from what is outside or
        ends a span to what is outside or begins one, and within the spans of each label.

        RETURNS (List[Tuple[Tensor, Tensor]]): Tags before and tags after. Both (sets, tags)
        """
        first = 1 + 4 * torch.arange(self.n_labels).unsqueeze(1)
        outside = torch.zeros(1, 1, dtype=torch.long)

        def get_ends(*parts: int) -> torch.Tensor:
            return torch.cat([outside, (first + torch.tensor(parts)).view(1, -1)], dim=1)

        return [
            (get_ends(LAST, UNIT), get_ends(BEGIN, UNIT)),
            (first + torch.tensor([BEGIN, INSIDE]), first + torch.tensor([INSIDE, LAST])),
        ]
