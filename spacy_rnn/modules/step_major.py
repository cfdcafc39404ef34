"""The order of time steps: the first tokens of all sequences, then the second ones, and so on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch

# The first packed position of each time step, and the one after its last.
Steps = list[tuple[int, int]]


@dataclass(frozen=True)
class StepMajor:
    """The order of torch's PackedSequence: the first tokens of all sequences, longest sequence
    first, then the second tokens of those that have one, and so on. No padding.

    order (Tensor): For each packed position, the token's position in the flat batch. (N,)
    inverse (Tensor): For each flat position, the token's packed position. (N,)
    mirror (Tensor): For each packed position, the packed position of the token as far from the
        end of its sequence as this one is from its beginning. Its own inverse. (N,)
    rows (Tensor): For each packed position, the rank of its sequence, longest first. (N,)
    ranking (Tensor): The number of the sequence at each rank. (sequences that are not empty,)
    sizes (List[int]): How many sequences have a token at each time step. (max length,)
    """

    order: torch.Tensor
    inverse: torch.Tensor
    mirror: torch.Tensor
    rows: torch.Tensor
    ranking: torch.Tensor
    sizes: list[int]

    @classmethod
    def from_lengths(cls, lengths: Sequence[int], device: torch.device) -> "StepMajor":
        """Lay out sequences of the given lengths.

        lengths (Sequence[int]): The number of tokens of each sequence; zeros are skipped.
        device (torch.device): Where to put the indices.
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
        arrays["ranking"] = ranking
        indices = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        return cls(**indices, sizes=steps.tolist())

    @property
    def reversed_order(self) -> torch.Tensor:
        """RETURNS (Tensor): As `order`, with each sequence read from its end. (N,)"""
        return self.order[self.mirror]

    @property
    def reversed_inverse(self) -> torch.Tensor:
        """RETURNS (Tensor): The inverse of that. (N,)"""
        return self.mirror[self.inverse]

    def get_steps(self) -> list[tuple[int, int]]:
        """RETURNS (List[Tuple[int, int]]): The first packed position of each time step, and the
        one after its last.
        """
        ends = list(accumulate(self.sizes))
        return list(zip([0, *ends[:-1]], ends, strict=True)) if ends else []


def find_previous(steps: Steps) -> torch.Tensor:
    """RETURNS (Tensor): For each token from the second step on, the packed position before it."""
    sizes = torch.tensor([end - start for start, end in steps])
    offsets = sizes[:-1].repeat_interleave(sizes[1:])
    return torch.arange(len(offsets)) + steps[0][1] - offsets


def permute(X: torch.Tensor, order: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Put rows into another order. The gradient is put back into the old one, which is several
    times faster than what torch does for indices that might repeat.

    X (Tensor): The rows. (N, width)
    order (Tensor): Which row goes to each place, each of them to one. (N,)
    inverse (Tensor): Which place each row goes to. (N,)
    RETURNS (Tensor): The rows in their new order. (N, width)
    """
    return _Permutation.apply(X, order, inverse)


class _Permutation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, X: torch.Tensor, order: torch.Tensor, inverse: torch.Tensor
    ) -> torch.Tensor:
        ctx.inverse = inverse
        return X.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return grads[0].index_select(0, ctx.inverse), None, None
