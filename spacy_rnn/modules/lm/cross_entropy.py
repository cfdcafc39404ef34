"""Cross-entropy of a linear layer and a softmax over a large vocabulary. Scores are computed a
few rows at a time, to bound memory.
"""

from functools import partial
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..backend import get_product_dtype
from ..workers import MIN_WORK, count_threads, run_tasks

# Scores that are in memory at a time, in each thread. With fewer, the weights are read more often.
MAX_SCORES = 2**22

# Processors multiply bfloat16 in tiles of this width. Other widths take longer than float32.
CPU_HALF_WIDTH = 32

# The gradients of X, weight and bias. Without a gradient to start from there are none.
Gradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None] | tuple[()]


def get_label_log_probs(
    X: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, labels: torch.Tensor
) -> torch.Tensor:
    """Get the log-softmax of a linear layer's output at one label per row.

    X (Tensor): The input of the linear layer. (N, nI)
    weight (Tensor): Its weights. (nO, nI)
    bias (Optional[Tensor]): Its bias. (nO,)
    labels (Tensor): The label of each row. (N,)
    RETURNS (Tensor): Natural logarithms, in single precision. (N,)
    """
    dtype = get_product_dtype(X)
    with torch.autocast(X.device.type, enabled=False):
        padding = -X.shape[1] % CPU_HALF_WIDTH
        if padding and dtype is torch.bfloat16 and X.device.type == "cpu":
            X, weight = F.pad(X, (0, padding)), F.pad(weight, (0, padding))
        return _LabelLogProbs.apply(X.to(dtype), weight.to(dtype), bias, labels)


class _LabelLogProbs(torch.autograd.Function):
    """A loss that adds up the log probabilities gives all of them the same gradient. So the forward
    pass computes gradients for a gradient of 1 while it has the scores, and the backward pass
    scales them. If rows have different gradients, it computes the scores again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        X: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        grad = X.new_ones(len(X), dtype=torch.float) if any(ctx.needs_input_grad) else None
        log_probs, gradients = _compute(X, weight, bias, labels, grad)
        ctx.save_for_backward(X, weight, bias, labels, *gradients)
        return log_probs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        X, weight, bias, labels, *gradients = ctx.saved_tensors
        (grad,) = grads
        factor = grad[0] if len(grad) else grad.sum()
        if bool((grad == factor).all()):
            return *(None if part is None else part * factor for part in gradients), None
        return *_compute(X, weight, bias, labels, grad)[1], None


def _compute(
    X: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    labels: torch.Tensor,
    grad: torch.Tensor | None,
) -> tuple[torch.Tensor, Gradients]:
    """Compute the log probabilities, and given their gradient, the gradients of X, weight and
    bias.
    """
    is_divided = X.device.type == "cpu" and len(X) * weight.numel() >= MIN_WORK
    parts = torch.arange(len(X)).chunk(count_threads() if is_divided else 1)
    log_probs, dX = X.new_empty(len(X), dtype=torch.float), torch.empty_like(X)
    # Each thread adds to its own, in single precision.
    n_sums = 0 if grad is None else len(parts)
    d_weights = weight.new_zeros(n_sums, *weight.shape, dtype=torch.float)
    d_biases = None if bias is None else bias.new_zeros(n_sums, len(bias))

    # Other threads would record gradients.
    @torch.no_grad()
    def run(i: int, part: torch.Tensor) -> None:
        product = None if grad is None else torch.empty_like(weight)
        for piece in part.split(max(1, MAX_SCORES // len(weight))) if len(part) else ():
            rows = slice(int(piece[0]), int(piece[-1]) + 1)
            scores = torch.mm(X[rows], weight.t()).float()
            if bias is not None:
                scores += bias
            logs, places = F.log_softmax(scores, dim=1), labels[rows].unsqueeze(1)
            torch.gather(logs, 1, places, out=log_probs[rows].unsqueeze(1))
            if grad is None:
                continue
            # 1 at the label, less the probabilities
            d_logs = grad[rows].unsqueeze(1)
            d_scores = logs.exp_().mul_(-d_logs).scatter_add_(1, places, d_logs)
            if d_biases is not None:
                d_biases[i] += d_scores.sum(dim=0)
            d_scores = d_scores.to(X.dtype)
            torch.mm(d_scores, weight, out=dX[rows])
            d_weights[i] += torch.mm(d_scores.t(), X[rows], out=product)

    run_tasks([partial(run, i, part) for i, part in enumerate(parts)])
    if grad is None:
        return log_probs, ()
    d_bias = None if d_biases is None else d_biases.sum(dim=0)
    return log_probs, (dX, d_weights.sum(dim=0).to(weight.dtype), d_bias)
