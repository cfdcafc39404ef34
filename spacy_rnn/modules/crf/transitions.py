"""Transitions between BILUO tags, the legal ones only. O, L and U are followed by O, B or U of any
label; B and I by I or L of their own label.

Tags are in the order of `TaggingScheme`: with n labels, I of each, B of each, O, U of each, L of
each. So O, U and L are adjacent columns, and so are B, O and U, and I and B.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

Places = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

# So many sums of scores are held at a time, where they are not added up.
MAX_SUMS = 2**24


@dataclass(frozen=True)
class Transitions:
    """A number for each legal transition: a score, or its exponential.

    outer (Tensor): From O, U and L (row) to B, O and U (column). (1 + 2 n_labels, 1 + 2 n_labels)
    inner (Tensor): To I or L, from I or B of the same label. (2, 2, n_labels)
    """

    outer: torch.Tensor
    inner: torch.Tensor

    @classmethod
    def from_matrix(cls, matrix: torch.Tensor, places: Places) -> "Transitions":
        """Choose the legal ones of all transitions.

        matrix (Tensor): A number for each row followed by each column. (n, n)
        places (Places): Where to find them.
        RETURNS (Transitions): The numbers of the legal transitions.
        """
        return cls(*_Selection.apply(matrix, places))

    @property
    def n_labels(self) -> int:
        """RETURNS (int): The number of labels."""
        return self.inner.shape[2]

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Transitions":
        """RETURNS (Transitions): What a function returns for both tensors."""
        return Transitions(function(self.outer), function(self.inner))

    def get(self, before: torch.Tensor, after: torch.Tensor, illegal: float) -> torch.Tensor:
        """Look up numbers.

        before, after (Tensor): Tags that follow each other.
        illegal (float): What to return for transitions that are not legal.
        RETURNS (Tensor): Their numbers, in the shape of both together.
        """
        n = self.n_labels
        ends, begins = before >= 2 * n, (after >= n) & (after <= 3 * n)
        outer = self.outer[(before - 2 * n).clamp(min=0), (after - n).clamp(0, 2 * n)]
        of_label = before % n == after % (3 * n + 1)
        inner = torch.where(of_label & ~(ends | begins), self.get_inner(before, after), illegal)
        return torch.where(ends & begins, outer, inner)

    def get_inner(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Look up numbers within spans. Others have no meaning.

        before, after (Tensor): Tags that follow each other.
        RETURNS (Tensor): Their numbers, in the shape of both together.
        """
        n = self.n_labels
        is_last = after > 3 * n
        labels = (after - (3 * n + 1) * is_last).clamp(max=n - 1)
        return self.inner[is_last.long(), (before >= n).long(), labels]

    def multiply(self, before: torch.Tensor, after: torch.Tensor) -> None:
        """Take a step of the forward pass: multiply each tag's number by the sum, over
        the tags before it, of their numbers times the transitions.

        before (Tensor): The numbers of the tags before. (n, T)
        after (Tensor): The numbers of the tags after, overwritten. (n, T)
        """
        outer, inner = split_before(before, self.n_labels)
        to_outer, to_inner = split_after(after, self.n_labels)
        to_outer *= outer @ self.outer
        to_inner *= (inner.unsqueeze(1) * self.inner).sum(2)

    def multiply_back(self, after: torch.Tensor, before: torch.Tensor) -> None:
        """Take a step of the backward pass: add up the numbers of the tags after, times the
        transitions.

        after (Tensor): The numbers of the tags after. (n, T)
        before (Tensor): Where to put the sums for the tags before. (n, T)
        """
        outer, inner = split_after(after, self.n_labels)
        to_outer, to_inner = split_before(before, self.n_labels)
        to_outer[:] = outer @ self.outer.T
        to_inner[:] = (inner.unsqueeze(2) * self.inner).sum(1)

    def count(self, before: torch.Tensor, after: torch.Tensor) -> "Transitions":
        """Multiply the numbers of the tags before and after by the transitions, and sum over
        tokens.

        before, after (Tensor): The numbers of the tags. (n, T)
        RETURNS (Transitions): The sums.
        """
        outer, inner = split_before(before, self.n_labels)
        to_outer, to_inner = split_after(after, self.n_labels)
        counts = torch.einsum("nsl,ntl->tsl", inner, to_inner)
        return Transitions((outer.T @ to_outer).mul_(self.outer), counts * self.inner)

    def add_best(self, before: torch.Tensor, after: torch.Tensor) -> None:
        """Add the best way to each tag to its score.

        before (Tensor): The scores of the tags before. (n, T)
        after (Tensor): The scores of the tags after, overwritten. (n, T)
        """
        n_rows = max(1, MAX_SUMS // self.outer.numel())
        for previous, current in zip(before.split(n_rows), after.split(n_rows), strict=True):
            outer, inner = split_before(previous, self.n_labels)
            to_outer, to_inner = split_after(current, self.n_labels)
            to_outer += (outer.unsqueeze(2) + self.outer).amax(1)
            to_inner += (inner.unsqueeze(1) + self.inner).amax(2)


def split_before(rows: torch.Tensor, n_labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """RETURNS (Tuple[Tensor, Tensor]): The columns of O, U and L, (n, 1 + 2 n_labels), and of
    I and B, (n, 2, n_labels): the tags before others. Views.
    """
    return rows[:, 2 * n_labels :], rows[:, : 2 * n_labels].unflatten(1, (2, n_labels))


def split_after(rows: torch.Tensor, n_labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """RETURNS (Tuple[Tensor, Tensor]): The columns of B, O and U, (n, 1 + 2 n_labels), and of
    I and L, (n, 2, n_labels): the tags after others. Views.
    """
    strides = (rows.stride(0), (3 * n_labels + 1) * rows.stride(1), rows.stride(1))
    inner = rows.as_strided((len(rows), 2, n_labels), strides)
    return rows[:, n_labels : 3 * n_labels + 1], inner


def find_places(index: torch.Tensor) -> Places:
    """Find legal transitions in a matrix.

    index (Tensor): The row, and column, of each tag. (n_tags,)
    RETURNS (Places): The rows of O, U and L and the columns of B, O and U; the rows of I and B and
        the columns of I and L.
    """
    n_labels = len(index) // 4
    outer, inner = split_before(index.unsqueeze(0), n_labels)
    to_outer, to_inner = split_after(index.unsqueeze(0), n_labels)
    return outer[0], to_outer[0], inner, to_inner[0].unsqueeze(1)


class _Selection(torch.autograd.Function):
    """Choose legal transitions. Torch's own gradients would be several matrices."""

    @staticmethod
    def forward(
        ctx: Any, matrix: torch.Tensor, places: Places
    ) -> tuple[torch.Tensor, torch.Tensor]:
        outer, to_outer, inner, to_inner = places
        ctx.places, ctx.size = places, len(matrix)
        return matrix.index_select(0, outer).index_select(1, to_outer), matrix[inner, to_inner]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        outer, to_outer, inner, to_inner = ctx.places
        columns = grads[0].new_zeros(len(outer), ctx.size).index_add_(1, to_outer, grads[0])
        matrix = grads[0].new_zeros(ctx.size, ctx.size).index_add_(0, outer, columns)
        return matrix.index_put_((inner, to_inner), grads[1], accumulate=True), None
