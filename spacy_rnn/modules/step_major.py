"""Index arithmetic between the two ways of laying out a batch of sequences.

A batch arrives flat: the tokens of all sequences one after another, with the lengths beside
them. Recurrent kernels want either time steps one after another (`StepMajor`) or rectangles
of sequences of similar length (`Bucket`). Nothing here touches values, only positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import torch

# Torch's fast kernels are compiled for one shape, which takes longer than running them, and keep
# some 0.3 MB for each. So buckets have one of these numbers of rows, and their time is cut into
# pieces of a few lengths: powers of two, or for a single row any even number.
BUCKET_ROWS = (1, 2, 4, 8, 16, 32, 64)
MAX_PIECE_STEPS = 32
MAX_SINGLE_ROW_STEPS = 64
# What a bucket costs on a CPU, in cells of its rectangle (rows x steps), fitted to timings of
# torch's LSTM: a time step costs as much as this many more rows, a piece or a bucket as much
# as this many more cells.
STEP_OVERHEAD_ROWS = 1.5
PIECE_OVERHEAD_CELLS = 20
BUCKET_OVERHEAD_CELLS = 10
# Larger buckets gain nothing, and smaller ones spread better over the processor's cores.
MAX_BUCKET_CELLS = 2560
# Sequences are divided among buckets in groups of this many: one by one takes ten times as long.
UNIT_ROWS = 8


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

    def get_steps(self) -> list[tuple[int, int]]:
        """RETURNS (List[Tuple[int, int]]): The first packed position of each time step, and the
        one after its last.
        """
        ends = list(accumulate(self.sizes))
        return list(zip([0, *ends[:-1]], ends, strict=True)) if ends else []


def find_previous(steps: Steps) -> torch.Tensor:
    """The packed positions of the tokens before those of the second and later steps."""
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


@dataclass(frozen=True)
class Bucket:
    """Sequences of similar length, to be laid out as a rectangle of (steps, rows).

    gather (Tensor): For each cell of the rectangle, the token's position in the flat batch.
        Cells beyond the end of their sequence repeat its last token. (steps x rows,)
    target (Tensor): The same, but one beyond the end of the flat batch for cells that hold no
        token: where to put the results. (steps x rows,)
    mirror (Tensor): For each cell, the cell as far from the end of its sequence as this one is
        from its beginning, so that padding comes last in both directions. (steps x rows,)
    pieces (Tuple[int, ...]): Into how many steps each to cut the rectangle.
    rows (int): The number of sequences.
    """

    gather: torch.Tensor
    target: torch.Tensor
    mirror: torch.Tensor
    pieces: tuple[int, ...]
    rows: int

    @classmethod
    def from_lengths(cls, lengths: np.ndarray, starts: np.ndarray, n_tokens: int) -> "Bucket":
        """Lay out sequences that begin at `starts` in the flat batch.

        lengths (ndarray): The number of tokens of each sequence, none of them zero. (rows,)
        starts (ndarray): The flat position of each sequence's first token. (rows,)
        n_tokens (int): The number of tokens of the flat batch.
        RETURNS (Bucket): The layout.
        """
        rows = len(lengths)
        pieces = cut_steps(int(lengths.max()), rows)
        times = np.arange(sum(pieces))[:, None]
        is_token = times < lengths
        gather = (starts + np.minimum(times, lengths - 1)).ravel()
        target = np.where(is_token.ravel(), gather, n_tokens)
        turned = np.where(is_token, lengths - 1 - times, times)
        mirror = (turned * rows + np.arange(rows)).ravel()
        indices = [torch.from_numpy(a) for a in (gather, target, mirror)]
        return cls(indices[0], indices[1], indices[2], pieces, rows)


@lru_cache(maxsize=1024)
def cut_steps(steps: int, rows: int) -> tuple[int, ...]:
    """Divide a rectangle into pieces of a few lengths, and a little padding.

    steps (int): The length of the longest sequence.
    rows (int): The number of sequences.
    RETURNS (Tuple[int, ...]): The steps of each piece, together no fewer than `steps`.
    """
    unit = 2 if rows == 1 else min(4, BUCKET_ROWS[-1] // rows)
    steps += -steps % unit
    largest = MAX_PIECE_STEPS if rows > 1 else MAX_SINGLE_ROW_STEPS
    pieces = [largest] * (steps // largest)
    rest = steps % largest
    if rows == 1 and rest:
        pieces.append(rest)
    elif rest:
        pieces.extend(1 << bit for bit in reversed(range(rest.bit_length())) if rest >> bit & 1)
    return tuple(pieces)


def make_buckets(lengths: Sequence[int]) -> list[Bucket]:
    """Divide a batch into buckets of similar length, so that a padded kernel wastes little.

    lengths (Sequence[int]): The number of tokens of each sequence; zeros are skipped.
    RETURNS (List[Bucket]): The buckets, the one with the longest sequences first.
    """
    if len(lengths) == 1 and 0 < lengths[0] <= MAX_SINGLE_ROW_STEPS:
        return [_make_single_bucket(lengths[0])]
    sizes = np.asarray(lengths, dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    n_tokens = int(sizes.sum())
    ranking = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    sizes, starts = sizes[ranking], starts[ranking]
    buckets = []
    begin = 0
    for rows in _divide(sizes.tolist()):
        part = slice(begin, begin + rows)
        buckets.append(Bucket.from_lengths(sizes[part], starts[part], n_tokens))
        begin += rows
    return buckets


@lru_cache(maxsize=MAX_SINGLE_ROW_STEPS)
def _make_single_bucket(length: int) -> Bucket:
    # To lay out a short sequence takes as long as a fifth of its computation.
    return Bucket.from_lengths(np.array([length]), np.array([0]), length)


def _divide(lengths: list[int]) -> list[int]:
    """Find the cheapest division of sequences into buckets, by dynamic programming over groups of
    UNIT_ROWS, so that it is found fast. Groups of very different lengths are divided further.

    lengths (List[int]): The lengths, falling.
    RETURNS (List[int]): The number of rows of each bucket, longest sequences first: each of them
        one of BUCKET_ROWS.
    """
    n_first = len(lengths) % UNIT_ROWS
    choices = [rows for rows in BUCKET_ROWS if rows >= UNIT_ROWS]
    costs = [0.0] * (len(lengths) + 1)
    chosen: list[list[int]] = [[]] * len(lengths)
    for i in range(len(lengths) - UNIT_ROWS, n_first - 1, -UNIT_ROWS):
        most = max(min(len(lengths) - i, MAX_BUCKET_CELLS // lengths[i]), UNIT_ROWS)
        costs[i], chosen[i] = min(
            (_get_cost(lengths[i], rows) + costs[i + rows], [rows])
            for rows in choices
            if rows <= most
        )
        if 2 * lengths[i + UNIT_ROWS - 1] < lengths[i]:
            cost, few = _divide_few(lengths[i : i + UNIT_ROWS])
            if cost + costs[i + UNIT_ROWS] < costs[i]:
                costs[i], chosen[i] = cost + costs[i + UNIT_ROWS], few
    _, division = _divide_few(lengths[:n_first])
    begin = n_first
    while begin < len(lengths):
        division.extend(chosen[begin])
        begin += sum(chosen[begin])
    return division


def _divide_few(lengths: list[int]) -> tuple[float, list[int]]:
    """Divide no more than UNIT_ROWS sequences into buckets of fewer rows, the one that is cheapest
    for a token first.

    lengths (List[int]): The lengths, falling.
    RETURNS (Tuple[float, List[int]]): The cost, and the number of rows of each bucket.
    """
    total, division, begin = 0.0, [], 0
    while begin < len(lengths):
        cost_of_token, rows = min(
            (_get_cost(lengths[begin], rows) / sum(lengths[begin : begin + rows]), rows)
            for rows in BUCKET_ROWS
            if rows < UNIT_ROWS and rows <= len(lengths) - begin
        )
        total += cost_of_token * sum(lengths[begin : begin + rows])
        division.append(rows)
        begin += rows
    return total, division


@lru_cache(maxsize=1024)
def _get_cost(steps: int, rows: int) -> float:
    pieces = cut_steps(steps, rows)
    cost = sum(pieces) * (rows + STEP_OVERHEAD_ROWS)
    return cost + len(pieces) * PIECE_OVERHEAD_CELLS + BUCKET_OVERHEAD_CELLS
