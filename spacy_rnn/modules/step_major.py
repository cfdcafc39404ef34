"""The order of time steps: the first tokens of all sequences, then the second ones, and so on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class StepMajor:
    """The order of torch's PackedSequence: the first tokens of all sequences, longest sequence
    first, then the second tokens of those that have one, and so on. No padding.

    order (ndarray): For each packed position, the token's position in the flat batch. (N,)
    inverse (ndarray): For each flat position, the token's packed position. (N,)
    mirror (ndarray): For each packed position, the packed position of the token as far from the
        end of its sequence as this one is from its beginning. Its own inverse. (N,)
    rows (ndarray): For each packed position, the rank of its sequence, longest first. (N,)
    ranking (ndarray): The number of the sequence at each rank. (sequences that are not empty,)
    sizes (List[int]): How many sequences have a token at each time step. (max length,)
    """

    order: np.ndarray
    inverse: np.ndarray
    mirror: np.ndarray
    rows: np.ndarray
    ranking: np.ndarray
    sizes: list[int]

    @classmethod
    def from_lengths(cls, lengths: Sequence[int]) -> "StepMajor":
        """Lay out sequences of the given lengths.

        lengths (Sequence[int]): The number of tokens of each sequence; zeros are skipped.
        RETURNS (StepMajor): The layout.
        """
        sizes = np.asarray(lengths, dtype=np.int64)
        starts = np.cumsum(sizes) - sizes
        ranking = np.argsort(-sizes, kind="stable")
        ranking = ranking[: np.count_nonzero(sizes)]
        sizes, starts = sizes[ranking], starts[ranking]
        # Sequences are sorted by falling length, so the number of those longer than t is where
        # t would be inserted into the rising lengths, counted from the end.
        longest = int(sizes[0]) if len(sizes) else 0
        steps = len(sizes) - np.searchsorted(sizes[::-1], np.arange(longest), side="right")
        step_starts = np.cumsum(steps) - steps
        rows = np.repeat(np.arange(len(sizes)), sizes)
        times = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        packed = step_starts[times] + rows
        mirrored = step_starts[sizes[rows] - 1 - times] + rows
        flat = starts[rows] + times
        order, inverse, mirror, row_of = (np.empty_like(packed) for _ in range(4))
        order[packed], inverse[flat] = flat, packed
        mirror[packed], row_of[packed] = mirrored, rows
        arrays = {"order": order, "inverse": inverse, "mirror": mirror, "rows": row_of}
        return cls(**arrays, ranking=ranking, sizes=steps.tolist())

    @property
    def reversed_order(self) -> np.ndarray:
        """RETURNS (ndarray): As `order`, with each sequence read from its end. (N,)"""
        return self.order[self.mirror]

    @property
    def reversed_inverse(self) -> np.ndarray:
        """RETURNS (ndarray): The inverse of that. (N,)"""
        return self.mirror[self.inverse]

    @cached_property
    def starts(self) -> np.ndarray:
        """RETURNS (ndarray): The first packed position of each time step, and the end of the last:
        N. (max length + 1,)
        """
        return np.cumsum([0, *self.sizes], dtype=np.int64)

    @cached_property
    def previous(self) -> np.ndarray:
        """RETURNS (ndarray): For each token from the second step on, the packed position of the
        token before it.
        """
        sizes = np.diff(self.starts)
        return np.arange(len(self.ranking), self.starts[-1]) - sizes[:-1].repeat(sizes[1:])
