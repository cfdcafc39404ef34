"""A weighted average of a language model's layers, with weights that are learned."""

from collections.abc import Callable
from typing import Any

from thinc.api import Model
from thinc.types import Floats2d, Floats3d
from thinc.util import partial

from .ragged import no_backprop

InT = list[Floats3d]
OutT = list[Floats2d]


def scalar_mix(dropout: float | None) -> Model[InT, OutT]:
    """Mix layers: the sum of s_j h_j, times a scale, with s the softmax of one weight for each
    layer (Peters et al. 2018, "Deep contextualized word representations", equation 1).

    dropout (Optional[float]): The rate of dropout in training; None follows the training loop.
    RETURNS (Model[List[Floats3d], List[Floats2d]]): The layer: (layers, tokens, width) to
        (tokens, width). Before training, the average.
    """
    return Model(
        "scalar_mix",
        partial(forward, dropout),
        init=init,
        dims={"nO": None, "layers": None},
        params={"weights": None, "scale": None},
        attrs={"dropout_rate": 0.0} if dropout is None else {},
    )


def forward(
    dropout: float | None, model: Model[InT, OutT], Xs: InT, is_train: bool
) -> tuple[OutT, Callable]:
    """Mix the layers of each sequence."""
    ops = model.ops
    weights: Any = model.get_param("weights")
    scale: Any = model.get_param("scale")
    shares: Any = ops.softmax(weights)
    if not is_train:
        return [_mix(scale * shares, X) for X in Xs], no_backprop
    mixed = [_mix(shares, X) for X in Xs]
    rate = model.attrs["dropout_rate"] if dropout is None else dropout
    masks: list[Any] = []
    if rate:
        masks = [ops.get_dropout_mask(Y.shape, rate) for Y in mixed]

    def drop(Ys: OutT) -> OutT:
        return [Y * mask for Y, mask in zip(Ys, masks, strict=True)] if masks else Ys

    def backprop(dYs: OutT) -> InT:
        dYs = drop(dYs)
        d_scale: Any = ops.alloc1f(1)
        d_shares: Any = ops.alloc1f(len(shares))
        for X, Y, dY in zip(Xs, mixed, dYs, strict=True):
            d_scale += (dY * Y).sum()
            d_shares += scale * ops.xp.tensordot(X, dY, axes=2)
        model.inc_grad("scale", d_scale)
        model.inc_grad("weights", shares * (d_shares - (shares * d_shares).sum()))
        factors = (scale * shares).reshape(-1, 1, 1)
        return [factors * dY for dY in dYs]

    return drop([scale * Y for Y in mixed]), backprop


def _mix(shares: Any, X: Any) -> Any:
    # One product, as tensordot would bring the axes into another order first.
    return (shares @ X.reshape(len(shares), -1)).reshape(X.shape[1:])


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Begin with the average, as it is."""
    if X:
        model.set_dim("layers", X[0].shape[0], force=True)
        model.set_dim("nO", X[0].shape[2], force=True)
    if model.has_dim("layers"):
        model.set_param("weights", model.ops.alloc1f(model.get_dim("layers")))
        model.set_param("scale", model.ops.alloc1f(1) + 1)
