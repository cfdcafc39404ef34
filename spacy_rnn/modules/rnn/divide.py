"""Batches divided among threads."""

from collections.abc import Sequence

import numpy as np

from ..workers import count_parts


def divide(lengths: Sequence[int], n_weights: int) -> tuple[list[np.ndarray], bool]:
    """Divide the sequences of a batch into parts of about as many tokens.

    lengths (Sequence[int]): The number of tokens of each sequence; zeros are skipped.
    n_weights (int): How many multiplications each token takes.
    RETURNS (Tuple[List[ndarray], bool]): The numbers of the sequences of each part, longest first,
        and whether the parts are worth waking threads for: a single sequence is one part, whose
        two directions may run side by side.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    ranking = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    ends = np.cumsum(sizes[ranking])
    n_parts = count_parts(int(ends[-1]), n_weights) if len(ends) else 1
    if n_parts == 1:
        return [ranking] if len(ranking) else [], False
    cuts = np.searchsorted(ends, ends[-1] * np.arange(1, n_parts) / n_parts, side="left") + 1
    return [part for part in np.split(ranking, cuts) if len(part)], True
