"""The cross-entropy of a linear layer and a softmax, by the compiled kernels. Each thread has some
rows; their scores are made by torch's product, a few rows at a time, and used up in the cache.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from ...kernels import _kernels as _rnn
from ..workers import count_parts, count_threads, run_tasks
from .cross_entropy import split_rows


def pick_log_probs(
    X: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, labels: torch.Tensor
) -> torch.Tensor:
    """Get the logarithm of the softmax of a linear layer's output, at one place of each row. Torch
    records it for gradients.

    X (Tensor): The input of the linear layer. float32 or bfloat16, (N, nI)
    weight (Tensor): Its weights, of the same type. (nO, nI)
    bias (Optional[Tensor]): Its bias. float32, (nO,)
    labels (Tensor): The place in each row. (N,)
    RETURNS (Tensor): Natural logarithms. float32, (N,)
    """
    return _PickLogProbs.apply(X.contiguous(), weight.contiguous(), bias, labels.contiguous())


class _PickLogProbs(torch.autograd.Function):
    """Where the loss is the sum of the logarithms, their gradient is one number for all. So those
    of X, weight and bias are computed but for that while there are scores; if it turns out to be
    several numbers, scores are computed again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        X: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        grad = torch.ones(len(X)) if any(ctx.needs_input_grad) else None
        log_probs, gradients = _pick(X, weight, bias, labels, grad)
        ctx.save_for_backward(X, weight, bias, labels, *gradients)
        return log_probs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        X, weight, bias, labels, *gradients = ctx.saved_tensors
        (grad,) = grads
        factor = grad[0] if len(grad) else grad.sum()
        if bool((grad == factor).all()):
            return *(None if part is None else part * factor for part in gradients), None
        return *_pick(X, weight, bias, labels, grad.contiguous())[1], None


class _WayBack:
    """The gradient of the logarithms, and where to put those of X, weight and bias, of which each
    part of the rows adds to its own.
    """

    def __init__(
        self,
        X: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        grad: torch.Tensor,
        n_parts: int,
    ):
        self.grad, self.X = grad, torch.empty_like(X)
        self.weights = weight.new_zeros(n_parts, *weight.shape, dtype=torch.float32)
        self.biases = None if bias is None else bias.new_zeros(n_parts, len(bias))
        self._type = weight.dtype

    def get_gradients(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        d_bias = None if self.biases is None else self.biases.sum(dim=0)
        return self.X, self.weights.sum(dim=0).to(self._type), d_bias


def _pick(
    X: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    labels: torch.Tensor,
    grad: torch.Tensor | None,
) -> tuple[torch.Tensor, tuple[torch.Tensor | None, ...]]:
    """RETURNS (Tuple[Tensor, Tuple[Optional[Tensor], ...]]): The logarithms, and if their gradient
    is given those of X, weight and bias.
    """
    parts = _divide(X, weight)
    back = None if grad is None else _WayBack(X, weight, bias, grad, len(parts))
    log_probs, totals = torch.empty(2, len(X))
    biases = None if bias is None else bias.detach().numpy()

    def run(i: int, part: slice) -> None:
        product = None if back is None else torch.empty_like(weight)
        for rows, room in _get_scores(X, weight, part):
            # Numpy knows no bfloat16.
            is_half = room.dtype is torch.bfloat16
            scores = (room.view(torch.uint16) if is_half else room).numpy()
            places, sums = labels[rows].numpy(), totals[rows].numpy()
            _rnn.pick_log_probs(scores, biases, places, log_probs[rows].numpy(), sums)
            if back is not None:
                d_bias = None if back.biases is None else back.biases[i].numpy()
                d_logs = back.grad[rows].numpy()
                _rnn.pick_log_probs_back(scores, biases, places, sums, d_logs, d_bias)
                torch.mm(room, weight, out=back.X[rows])
                back.weights[i] += torch.mm(room.t(), X[rows], out=product)

    run_tasks([partial(run, i, part) for i, part in enumerate(parts)])
    return log_probs, () if back is None else back.get_gradients()


def _get_scores(
    X: torch.Tensor, weight: torch.Tensor, rows: slice
) -> Iterator[tuple[slice, torch.Tensor]]:
    """YIELDS (Tuple[slice, Tensor]): Some of the rows, and their scores, to be written over."""
    pieces = split_rows(rows, len(weight))
    room = X.new_empty(max(piece.stop - piece.start for piece in pieces), len(weight))
    for piece in pieces:
        yield piece, torch.mm(X[piece], weight.t(), out=room[: piece.stop - piece.start])


def _divide(X: torch.Tensor, weight: torch.Tensor) -> list[slice]:
    """RETURNS (List[slice]): The rows for each thread, or all of them if they are not worth one."""
    n_parts = min(count_parts(len(X), weight.numel()), count_threads())
    size = -(-len(X) // n_parts) or 1
    return [slice(start, min(start + size, len(X))) for start in range(0, len(X), size)]
