"""Transitions between BILUO tags, the legal ones only. O, L and U are followed by O, B or U of any
label; B and I by I or L of their own label.

Tags are in the order of `TaggingScheme`: with n labels, I of each, B of each, O, U of each, L of
each. So O, U and L are adjacent columns, and so are B, O and U.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

Places = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

# So many sums of scores are held at a time, where they are not added up.
MAX_SUMS = 2**24


@dataclass(frozen=True)
class Transitions:
    """A number for each legal transition: a score, its exponential or its gradient.

    outer (ndarray): From O, U and L (row) to B, O and U (column). (1 + 2 n_labels, 1 + 2 n_labels)
    inner (ndarray): To I or L, from I or B of the same label. (2, 2, n_labels)
    """

    outer: np.ndarray
    inner: np.ndarray

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, places: Places) -> "Transitions":
        """Choose the legal ones of all transitions.

        matrix (ndarray): A number for each row followed by each column. (n, n)
        places (Places): Where to find them.
        RETURNS (Transitions): The numbers of the legal transitions.
        """
        outer, to_outer, inner, to_inner = places
        return cls(matrix.take(outer, axis=0).take(to_outer, axis=1), matrix[inner, to_inner])

    def to_matrix(self, places: Places, size: int) -> np.ndarray:
        """Add up the numbers of the transitions at each place: the backward pass of `from_matrix`.

        places (Places): Where to put them.
        size (int): The number of rows and columns.
        RETURNS (ndarray): The sums, zero where no transition is legal. (size, size)
        """
        outer, to_outer, inner, to_inner = places
        n = self.n_labels
        columns = np.zeros((len(outer), size), dtype=self.outer.dtype)
        # Two tags may share a place only if they belong to different groups.
        for group in (slice(0, n), slice(n, None)):
            columns[:, to_outer[group]] += self.outer[:, group]
        matrix = np.zeros((size, size), dtype=self.outer.dtype)
        matrix[outer] = columns
        for to, numbers in zip(to_inner, self.inner, strict=True):
            matrix[inner, to] += numbers
        return matrix

    @property
    def n_labels(self) -> int:
        """RETURNS (int): The number of labels."""
        return self.inner.shape[2]

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> "Transitions":
        """RETURNS (Transitions): What a function returns for both arrays."""
        return Transitions(function(self.outer), function(self.inner))

    def astype(self, dtype: DTypeLike) -> "Transitions":
        """RETURNS (Transitions): The numbers in another type, contiguous as our kernels need."""
        return self.map(lambda values: np.ascontiguousarray(values, dtype=dtype))

    def add(self, other: "Transitions") -> "Transitions":
        """Add other numbers to these. RETURNS (Transitions): These."""
        for numbers, others in ((self.outer, other.outer), (self.inner, other.inner)):
            numbers += others
        return self

    def get(self, before: np.ndarray, after: np.ndarray, illegal: float) -> np.ndarray:
        """Look up numbers.

        before, after (ndarray): Tags that follow each other.
        illegal (float): What to return for transitions that are not legal.
        RETURNS (ndarray): Their numbers, in the shape of both together.
        """
        is_outer, is_inner = self._find_legal(before, after)
        inner = np.where(is_inner, self.inner[self._index_inner(before, after)], illegal)
        return np.where(is_outer, self.outer[self._index_outer(before, after)], inner)

    def count(self, before: np.ndarray, after: np.ndarray, numbers: np.ndarray) -> "Transitions":
        """Add up numbers by transition: the backward pass of `get`.

        before, after (ndarray): Tags that follow each other. (n,)
        numbers (ndarray): The numbers. Illegal transitions are left out. (n,)
        RETURNS (Transitions): The sums.
        """
        counts = Transitions(np.zeros(self.outer.shape), np.zeros(self.inner.shape))
        is_outer, is_inner = self._find_legal(before, after)
        for sums, is_legal, index in (
            (counts.outer, is_outer, self._index_outer(before, after)),
            (counts.inner, is_inner, self._index_inner(before, after)),
        ):
            flat = np.ravel_multi_index(index, sums.shape)
            np.add.at(sums.reshape(-1), flat[is_legal], numbers[is_legal])
        return counts

    def get_inner(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Look up numbers within spans. Others have no meaning.

        before, after (ndarray): Tags that follow each other.
        RETURNS (ndarray): Their numbers, in the shape of both together.
        """
        return self.inner[self._index_inner(before, after)]

    def _find_legal(self, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether transitions are legal, from O, U and L and within spans."""
        n = self.n_labels
        ends, begins = before >= 2 * n, (after >= n) & (after <= 3 * n)
        return ends & begins, (before % n == after % (3 * n + 1)) & ~(ends | begins)

    def _index_outer(self, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, ...]:
        n = self.n_labels
        return np.maximum(before - 2 * n, 0), np.minimum(np.maximum(after - n, 0), 2 * n)

    def _index_inner(self, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, ...]:
        n = self.n_labels
        is_last = (after > 3 * n).astype(np.int64)
        labels = np.minimum(after - (3 * n + 1) * is_last, n - 1)
        return is_last, (before >= n).astype(np.int64), labels

    def multiply(self, before: np.ndarray, after: np.ndarray) -> None:
        """Take a step of the forward pass: multiply each tag's number by the sum, over
        the tags before it, of their numbers times the transitions.

        before (ndarray): The numbers of the tags before. (n, T)
        after (ndarray): The numbers of the tags after, overwritten. (n, T)
        """
        outer, inside, begin = split_before(before, self.n_labels)
        to_outer, *to_inner = split_after(after, self.n_labels)
        to_outer *= outer @ self.outer
        for to, factors in zip(to_inner, self.inner, strict=True):
            to *= inside * factors[0] + begin * factors[1]

    def multiply_back(self, after: np.ndarray, before: np.ndarray) -> None:
        """Take a step of the backward pass: add up the numbers of the tags after, times the
        transitions.

        after (ndarray): The numbers of the tags after. (n, T)
        before (ndarray): Where to put the sums for the tags before. (n, T)
        """
        outer, inside, last = split_after(after, self.n_labels)
        to_outer, *to_inner = split_before(before, self.n_labels)
        np.matmul(outer, self.outer.T, out=to_outer)
        for i, to in enumerate(to_inner):
            to[:] = inside * self.inner[0, i] + last * self.inner[1, i]

    def expect(self, before: np.ndarray, after: np.ndarray) -> "Transitions":
        """Multiply the numbers of the tags before and after by the transitions, and sum over
        tokens.

        before, after (ndarray): The numbers of the tags. (n, T)
        RETURNS (Transitions): The sums.
        """
        outer, *inner = split_before(before, self.n_labels)
        to_outer, *to_inner = split_after(after, self.n_labels)
        counts = outer.T @ to_outer
        counts *= self.outer
        sums = [[np.einsum("nl,nl->l", b, a) for b in inner] for a in to_inner]
        return Transitions(counts, self.inner * sums)

    def add_best(self, before: np.ndarray, after: np.ndarray) -> None:
        """Add the best way to each tag to its score.

        before (ndarray): The scores of the tags before. (n, T)
        after (ndarray): The scores of the tags after, overwritten. (n, T)
        """
        n_rows = max(1, MAX_SUMS // self.outer.size)
        for i in range(0, len(before), n_rows):
            outer, inside, begin = split_before(before[i : i + n_rows], self.n_labels)
            to_outer, *to_inner = split_after(after[i : i + n_rows], self.n_labels)
            to_outer += (outer[:, :, None] + self.outer).max(axis=1)
            for to, scores in zip(to_inner, self.inner, strict=True):
                to += np.maximum(inside + scores[0], begin + scores[1])


def split_before(rows: np.ndarray, n_labels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray, ndarray]): The columns of O, U and L, (n, 1 + 2 n_labels),
    of I and of B, (n, n_labels): the tags before others. Views.
    """
    return rows[:, 2 * n_labels :], rows[:, :n_labels], rows[:, n_labels : 2 * n_labels]


def split_after(rows: np.ndarray, n_labels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray, ndarray]): The columns of B, O and U, (n, 1 + 2 n_labels),
    of I and of L, (n, n_labels): the tags after others. Views.
    """
    first, end = n_labels, 3 * n_labels + 1
    return rows[:, first:end], rows[:, :first], rows[:, end:]


def find_places(index: np.ndarray) -> Places:
    """Find legal transitions in a matrix.

    index (ndarray): The row, and column, of each tag. (n_tags,)
    RETURNS (Places): The rows of O, U and L and the columns of B, O and U; the rows of I and B and
        the columns of I and L.
    """
    n_labels = len(index) // 4
    (outer, *inner), (to_outer, *to_inner) = (
        [part[0] for part in split(index[None], n_labels)] for split in (split_before, split_after)
    )
    return outer, to_outer, np.stack(inner), np.stack(to_inner)[:, None]
