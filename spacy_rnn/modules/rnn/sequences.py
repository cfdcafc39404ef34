"""Sequences in the order that the compiled kernels want, divided among threads."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ...kernels._kernels import Sequences
from ..workers import count_threads, run_tasks

# Runs one direction over sequences; the second argument is whether it reads them from their ends.
RunDirection = Callable[[Sequences, bool], None]

# To wake a thread takes as long as this many multiplications and additions.
MIN_WORK = 30_000_000
# More parts than threads, so that none waits long for another.
PARTS_PER_THREAD = 2


def divide(lengths: Sequence[int], n_weights: int) -> tuple[list[Sequences], bool]:
    """Divide the sequences of a batch into parts of about as many tokens.

    lengths (Sequence[int]): The number of tokens of each sequence; zeros are skipped.
    n_weights (int): How many multiplications each token takes.
    RETURNS (Tuple[List[Sequences], bool]): The parts, and whether they are worth waking threads
        for: a single sequence is one part, the two directions of which may run side by side.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    ranking = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    sizes, starts = sizes[ranking], starts[ranking]
    n_parts = count_parts(int(sizes.sum()), n_weights)
    if n_parts == 1:
        return [Sequences(starts, sizes)] if len(sizes) else [], False
    ends = np.cumsum(sizes)
    cuts = np.searchsorted(ends, ends[-1] * np.arange(1, n_parts) / n_parts, side="left") + 1
    ranges = zip([0, *cuts.tolist()], [*cuts.tolist(), len(sizes)], strict=True)
    return [Sequences(starts[i:k], sizes[i:k]) for i, k in ranges if i < k], True


def count_parts(n_tokens: int, n_weights: int) -> int:
    """RETURNS (int): Into how many parts to divide so many tokens, with so many multiplications
    each.
    """
    n_threads = count_threads()
    if n_threads == 1 or n_tokens * n_weights < MIN_WORK:
        return 1
    return n_threads * PARTS_PER_THREAD


def run_directions(
    runs: Sequence[RunDirection], parts: Sequence[Sequences], in_threads: bool
) -> None:
    """Run every direction over every part.

    runs (Sequence[Callable[[Sequences, bool], None]]): The forward direction, and the backward one
        if there is one.
    parts (Sequence[Sequences]): The parts.
    in_threads (bool): Whether they are worth waking threads for.
    """
    tasks = [partial(run, part, i == 1) for part in parts for i, run in enumerate(runs)]
    run_tasks(tasks, in_threads=in_threads)
