"""Index arithmetic between the two ways of laying out a batch of sequences.

A batch arrives flat: the tokens of all sequences one after another, with the lengths beside
them. Recurrent kernels want either time steps one after another (`StepMajor`) or rectangles
of sequences of similar length (`Bucket`). Nothing here touches values, only positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

# What a bucket costs on a CPU, in cells of its rectangle (rows x steps), fitted to timings of
# torch's LSTM for 1 to 256 rows: a time step costs as much as this many more rows, a bucket as
# much as this many more cells, and unequal lengths this share more, for turning round and back.
STEP_OVERHEAD_ROWS = 2
BUCKET_OVERHEAD_CELLS = 64
UNEQUAL_OVERHEAD = 0.1
# Larger buckets gain nothing, and smaller ones spread better over the processor's cores.
MAX_BUCKET_ROWS = 128
MAX_BUCKET_CELLS = 4096


@dataclass(frozen=True)
class StepMajor:
    """The order of torch's PackedSequence: the first tokens of all sequences, longest sequence
    first, then the second tokens of those that have one, and so on. No padding.

    order (Tensor): For each packed position, the token's position in the flat batch. (N,)
    inverse (Tensor): For each flat position, the token's packed position. (N,)
    mirror (Tensor): For each packed position, the packed position of the token as far from the
        end of its sequence as this one is from its beginning. Its own inverse. (N,)
    rows (Tensor): For each packed position, the rank of its sequence, longest first. (N,)
    sizes (List[int]): How many sequences have a token at each time step. (max length,)
    """

    order: torch.Tensor
    inverse: torch.Tensor
    mirror: torch.Tensor
    rows: torch.Tensor
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
        indices = [torch.from_numpy(a).to(device) for a in (order, inverse, mirror, row_of)]
        return cls(indices[0], indices[1], indices[2], indices[3], steps.tolist())


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


@dataclass(frozen=True)
class Bucket:
    """Sequences of similar length, to be laid out as a rectangle of (steps, rows).

    gather (Tensor): For each cell of the rectangle, the token's position in the flat batch.
        Cells beyond the end of their sequence repeat its last token. (steps x rows,)
    scatter (Tensor): The cells that hold a token, in the order of `tokens`. (N,)
    tokens (Tensor): The flat positions of those tokens. (N,)
    mirror (Optional[Tensor]): For each cell, the cell as far from the end of its sequence as
        this one is from its beginning; None where all lengths are equal, so that turning the
        whole rectangle round does the same. (steps x rows,)
    steps (int): The length of the longest sequence.
    rows (int): The number of sequences.
    """

    gather: torch.Tensor
    scatter: torch.Tensor
    tokens: torch.Tensor
    mirror: torch.Tensor | None
    steps: int
    rows: int

    @classmethod
    def from_lengths(cls, lengths: np.ndarray, starts: np.ndarray) -> "Bucket":
        """Lay out sequences that begin at `starts` in the flat batch.

        lengths (ndarray): The number of tokens of each sequence, none of them zero. (rows,)
        starts (ndarray): The flat position of each sequence's first token. (rows,)
        RETURNS (Bucket): The layout.
        """
        steps, rows = int(lengths.max()), len(lengths)
        times = np.arange(steps)[:, None]
        gather = (starts + np.minimum(times, lengths - 1)).ravel()
        if int(lengths.min()) == steps:
            cells = np.arange(steps * rows)
            mirror = None
        else:
            cells = np.flatnonzero((times < lengths).ravel())
            turned = np.where(times < lengths, lengths - 1 - times, times)
            mirror = torch.from_numpy((turned * rows + np.arange(rows)).ravel())
        return cls(
            torch.from_numpy(gather),
            torch.from_numpy(cells),
            torch.from_numpy(gather[cells]),
            mirror,
            steps,
            rows,
        )


def make_buckets(lengths: Sequence[int]) -> list[Bucket]:
    """Divide a batch into buckets of similar length, so that a padded kernel wastes little.

    lengths (Sequence[int]): The number of tokens of each sequence; zeros are skipped.
    RETURNS (List[Bucket]): The buckets, the one with the longest sequences first.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    ranking = np.argsort(sizes, kind="stable")[np.count_nonzero(sizes == 0) :]
    sizes, starts = sizes[ranking], starts[ranking]
    distinct, counts = np.unique(sizes, return_counts=True)
    buckets = []
    end = len(sizes)
    for first in reversed(_partition(distinct, counts)):
        begin = int(counts[:first].sum())
        steps = int(sizes[end - 1])
        most = max(1, min(MAX_BUCKET_ROWS, MAX_BUCKET_CELLS // steps))
        n_parts = -(-(end - begin) // most)
        for part in reversed(np.array_split(np.arange(begin, end), n_parts)):
            buckets.append(Bucket.from_lengths(sizes[part], starts[part]))
        end = begin
    return buckets


def find_cells(buckets: list[Bucket]) -> torch.Tensor:
    """Find where a batch's tokens are when the cells of its buckets are put one after another.

    buckets (List[Bucket]): All buckets of the batch.
    RETURNS (Tensor): The cell of each token. (N,)
    """
    cells = torch.empty(sum(len(bucket.tokens) for bucket in buckets), dtype=torch.int64)
    start = 0
    for bucket in buckets:
        cells[bucket.tokens] = bucket.scatter + start
        start += bucket.steps * bucket.rows
    return cells


def _partition(distinct: np.ndarray, counts: np.ndarray) -> list[int]:
    """Find the cheapest division of sequences, sorted by length, into buckets. Sequences of the
    same length stay together.

    distinct (ndarray): The lengths that occur, rising. (n,)
    counts (ndarray): How many sequences have each of them. (n,)
    RETURNS (List[int]): For each bucket, the index in `distinct` of its shortest length, rising.
    """
    before = np.cumsum(counts) - counts
    cheapest = np.zeros(len(distinct) + 1)
    firsts = np.zeros(len(distinct), dtype=np.int64)
    for last, steps in enumerate(distinct.tolist()):
        rows = before[last] + counts[last] - before[: last + 1]
        costs = steps * (rows + STEP_OVERHEAD_ROWS) * (1 + UNEQUAL_OVERHEAD)
        costs[last] /= 1 + UNEQUAL_OVERHEAD
        costs += cheapest[: last + 1] + BUCKET_OVERHEAD_CELLS
        firsts[last] = costs.argmin()
        cheapest[last + 1] = costs[firsts[last]]
    partition: list[int] = []
    end = len(distinct)
    while end:
        end = int(firsts[end - 1])
        partition.append(end)
    return partition[::-1]
