"""A linear output layer for several labels of each token."""

from collections.abc import Callable, Sequence

from thinc.api import Model, zero_init
from thinc.layers import linear as thinc_linear
from thinc.types import Floats2d

from . import linear

_SIZES = "sizes"


def factored_softmax() -> Model[Floats2d, Floats2d]:
    """Score labels in groups, each with a softmax of its own, by one linear map. In training the
    output is probabilities, whose gradient is taken to be that of the scores before the softmax,
    as in Thinc's `Softmax_v2`. In prediction it is those scores.

    RETURNS (Model[Floats2d, Floats2d]): The layer. `set_sizes` goes before initialisation.
    """
    return Model(
        "factored_softmax",
        forward,
        init=init,
        dims={"nO": None, "nI": None},
        params={"W": None, "b": None},
        attrs={_SIZES: []},
    )


def forward(
    model: Model[Floats2d, Floats2d], X: Floats2d, is_train: bool
) -> tuple[Floats2d, Callable]:
    """Score a batch."""
    Y, backprop = linear.forward(model, X, is_train)
    end = 0
    for size in model.attrs[_SIZES] if is_train else ():
        start, end = end, end + size
        Y[:, start:end] = model.ops.softmax(Y[:, start:end])
    return Y, backprop


def init(
    model: Model[Floats2d, Floats2d], X: Floats2d | None = None, Y: Floats2d | None = None
) -> None:
    """Infer the input width, and make the parameters."""
    thinc_linear.init(zero_init, zero_init, model, X)


def find_factored(model: Model) -> Model[Floats2d, Floats2d] | None:
    """RETURNS (Optional[Model]): The layer of this kind in a model."""
    return next((layer for layer in model.walk() if layer._func is forward), None)


def set_sizes(layer: Model[Floats2d, Floats2d], sizes: Sequence[int]) -> None:
    """Set the number of labels in each group."""
    layer.attrs[_SIZES] = list(sizes)
    layer.set_dim("nO", sum(sizes))
