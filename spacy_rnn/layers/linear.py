"""Thinc's linear layer, with our kernels for prediction on a CPU."""

from collections.abc import Callable
from typing import Any, cast

import numpy
from thinc.api import Model, glorot_uniform_init, zero_init
from thinc.layers import linear as thinc_linear
from thinc.types import Floats2d
from thinc.util import partial

from .. import kernels
from ..modules.weights import Weights
from .ragged import no_backprop


def linear(nO: int) -> Model[Floats2d, Floats2d]:
    """Multiply by weights and add a bias.

    nO (int): The output width.
    RETURNS (Model[Floats2d, Floats2d]): The layer, with the parameters of Thinc's.
    """
    return Model(
        "linear",
        forward,
        init=partial(thinc_linear.init, glorot_uniform_init, zero_init),
        dims={"nO": nO, "nI": None},
        params={"W": None, "b": None},
    )


def forward(
    model: Model[Floats2d, Floats2d], X: Floats2d, is_train: bool
) -> tuple[Floats2d, Callable]:
    """Map a batch."""
    if is_train or model.ops.device_type != "cpu" or kernels.INSTRUCTIONS is None:
        return thinc_linear.forward(model, X, is_train)
    # BLIS is several times as slow on processors that it does not know.
    from ..modules.linear import predict_linear

    weights = Weights({name: model.get_param(name) for name in ("W", "b")})
    Y: Any = predict_linear(weights, "W", "b", cast(Any, X))
    Y = numpy.ascontiguousarray(Y)
    return Y, no_backprop
