"""Prediction by torch on parts of a batch."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter

import numpy as np
import torch

from ..workers import run_tasks
from .divide import divide


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
