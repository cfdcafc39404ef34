"""A linear layer and a softmax of which one value a row is wanted: the cross-entropy of a large
vocabulary, without ever having the scores of all words for all rows in memory.
"""

from typing import Any

import torch
from torch.nn import functional as F

from ..backend import get_product_dtype, is_compiled

# Scores that are in memory at a time, with the compiled kernels in each thread: fewer are slower,
# as each piece reads all weights.
MAX_SCORES = 2**21

# Processors multiply in half precision by tiles of this width; others take longer than in single.
CPU_HALF_WIDTH = 32


def pick_log_probs(
    X: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, labels: torch.Tensor
) -> torch.Tensor:
    """Get the logarithm of the softmax of a linear layer's output, at one place of each row. The
    scores are computed in pieces, and where need be again for the gradient.

    X (Tensor): The input of the linear layer. (N, nI)
    weight (Tensor): Its weights. (nO, nI)
    bias (Optional[Tensor]): Its bias. (nO,)
    labels (Tensor): The place in each row. (N,)
    RETURNS (Tensor): Natural logarithms, in single precision. (N,)
    """
    dtype = get_product_dtype(X)
    with torch.autocast(X.device.type, enabled=False):
        padding = -X.shape[1] % CPU_HALF_WIDTH
        if padding and dtype is torch.bfloat16 and X.device.type == "cpu":
            X, weight = F.pad(X, (0, padding)), F.pad(weight, (0, padding))
        X, weight = X.to(dtype), weight.to(dtype)
        if dtype in (torch.float32, torch.bfloat16) and is_compiled(X, weight, dtype=dtype):
            # Not above: it is not there where the kernels were not built.
            from .compiled_softmax import pick_log_probs as pick_compiled

            return pick_compiled(X, weight, bias, labels)
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        return _PickLogProbs.apply(X, weight, bias.float(), labels)


class _PickLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, X: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        results = []
        for rows in split_rows(slice(0, len(X)), len(weight)):
            scores = _score(X[rows], weight, bias)
            picked = scores.gather(1, labels[rows].unsqueeze(1)).squeeze(1)
            total = torch.logsumexp(scores, dim=1)
            results.append(torch.stack([picked - total, total]))
        log_probs, totals = torch.cat(results, dim=1) if results else bias.new_zeros(2, 0)
        ctx.save_for_backward(X, weight, bias, labels, totals)
        return log_probs

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        X, weight, bias, labels, totals = ctx.saved_tensors
        dX = torch.empty_like(X)
        d_weight, d_bias = torch.zeros_like(weight, dtype=bias.dtype), torch.zeros_like(bias)
        for rows in split_rows(slice(0, len(X)), len(weight)):
            # One at the label, less the probabilities.
            scores = _score(X[rows], weight, bias)
            grad = grads[0][rows].unsqueeze(1)
            scores.sub_(totals[rows].unsqueeze(1)).exp_().mul_(-grad)
            scores.scatter_add_(1, labels[rows].unsqueeze(1), grad)
            d_bias += scores.sum(dim=0)
            d_scores = scores.to(X.dtype)
            torch.mm(d_scores, weight, out=dX[rows])
            d_weight += torch.mm(d_scores.t(), X[rows])
        return dX, d_weight.to(weight.dtype), d_bias, None


def _score(X: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return torch.mm(X, weight.t()).to(bias.dtype).add_(bias)


def split_rows(rows: slice, n_scores: int) -> list[slice]:
    """RETURNS (List[slice]): Rows in pieces, of which the scores may be in memory together."""
    size = max(1, MAX_SCORES // n_scores)
    return [
        slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)
    ]
