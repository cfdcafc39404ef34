"""Permutations of a tensor's rows."""

from typing import Any

import torch


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
