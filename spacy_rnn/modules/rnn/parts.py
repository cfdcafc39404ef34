"""Batches divided among threads."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter

import numpy as np
import torch

from ..workers import count_parts, run_tasks


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


def run_parts(
    run: Callable[[torch.Tensor, list[int]], torch.Tensor],
    X: torch.Tensor,
    lengths: Sequence[int],
    n_weights: int,
) -> torch.Tensor:
    """Run something on a batch without gradients: on a CPU, on parts of it side by side.

    run (Callable[[Tensor, List[int]], Tensor]): Takes the tokens of some sequences, one after
        another, and their lengths.
    X (Tensor): The tokens of all sequences. (N, nI)
    lengths (Sequence[int]): The number of tokens of each sequence.
    n_weights (int): How many multiplications each token takes.
    RETURNS (Tensor): What `run` returns for all of them. (N, nO)
    """
    parts, in_threads = divide(lengths, n_weights if X.device.type == "cpu" else 0)
    if len(parts) <= 1:
        with torch.no_grad():
            return run(X, list(lengths))
    sequences = X.split(list(lengths))

    @torch.inference_mode()
    def run_part(part: np.ndarray) -> tuple[torch.Tensor, ...]:
        sizes = [lengths[number] for number in part]
        return run(torch.cat([sequences[number] for number in part]), sizes).split(sizes)

    tasks = [partial(run_part, part) for part in parts]
    outputs = [output for part in run_tasks(tasks, in_threads=in_threads) for output in part]
    order = np.concatenate(parts).tolist()
    return torch.cat(
        [output for _, output in sorted(zip(order, outputs, strict=True), key=itemgetter(0))]
    )
