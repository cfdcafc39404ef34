"""The cross-entropy of a linear layer and a softmax, by the compiled kernels. Each thread has some
rows; their scores are made by torch's product, a few rows at a time, and used up in the cache.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from ..workers import count_workers, run_tasks
from . import _rnn

# Scores that a thread has in memory at a time: fewer are slower, as each piece reads all weights.
MAX_SCORES = 2**21


def pick_log_probs(
    X: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, labels: torch.Tensor
) -> torch.Tensor:
    """Get the logarithm of the softmax of a linear layer's output, at one place of each row. Torch
    records it for gradients, for which scores are computed again.

    X (Tensor): The input of the linear layer. float32 or bfloat16, (N, nI)
    weight (Tensor): Its weights, of the same type. (nO, nI)
    bias (Optional[Tensor]): Its bias. float32, (nO,)
    labels (Tensor): The place in each row. (N,)
    RETURNS (Tensor): Natural logarithms. float32, (N,)
    """
    return _PickLogProbs.apply(X.contiguous(), weight.contiguous(), bias, labels.contiguous())


class _PickLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        X: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        log_probs, totals = torch.empty(2, len(X))

        def pick(rows: slice) -> None:
            for part, scores in _get_scores(X, weight, rows):
                _rnn.pick_log_probs(
                    scores,
                    None if bias is None else bias.detach().numpy(),
                    labels[part].numpy(),
                    log_probs[part].numpy(),
                    totals[part].numpy(),
                )

        run_tasks([partial(pick, rows) for rows in _divide(len(X))])
        ctx.save_for_backward(X, weight, bias, labels, totals)
        return log_probs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        X, weight, bias, labels, totals = ctx.saved_tensors
        grad, divided = grads[0].contiguous(), _divide(len(X))
        dX = torch.empty_like(X)
        # Each thread's own.
        d_weights = weight.new_zeros(len(divided), *weight.shape, dtype=torch.float32)
        d_biases = None if bias is None else bias.new_zeros(len(divided), len(bias))

        def go_back(i: int) -> None:
            product = torch.empty_like(weight)
            for part, scores in _get_scores(X, weight, divided[i]):
                _rnn.pick_log_probs_back(
                    scores,
                    None if bias is None else bias.detach().numpy(),
                    labels[part].numpy(),
                    totals[part].numpy(),
                    grad[part].numpy(),
                    None if d_biases is None else d_biases[i].numpy(),
                )
                d_scores = torch.from_numpy(scores).view(X.dtype)
                torch.mm(d_scores, weight, out=dX[part])
                d_weights[i] += torch.mm(d_scores.t(), X[part], out=product)

        run_tasks([partial(go_back, i) for i in range(len(divided))])
        d_bias = None if d_biases is None else d_biases.sum(dim=0)
        return dX, d_weights.sum(dim=0).to(weight.dtype), d_bias, None


def _get_scores(
    X: torch.Tensor, weight: torch.Tensor, rows: slice
) -> Iterator[tuple[slice, np.ndarray]]:
    """YIELDS (Tuple[slice, ndarray]): Some of the rows, and their scores as the kernels want them,
    to be written over.
    """
    size = min(max(1, MAX_SCORES // len(weight)), rows.stop - rows.start)
    room = X.new_empty(size, len(weight))
    for start in range(rows.start, rows.stop, size):
        part = slice(start, min(start + size, rows.stop))
        scores = torch.mm(X[part], weight.t(), out=room[: part.stop - start])
        # Numpy knows no bfloat16.
        is_half = scores.dtype is torch.bfloat16
        yield part, (scores.view(torch.uint16) if is_half else scores).numpy()


def _divide(n_rows: int) -> list[slice]:
    size = -(-n_rows // max(1, count_workers())) or 1
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]
