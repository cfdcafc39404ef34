"""The output layer of a biaffine parser: tokens' states, and the parameters that score arcs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy
from thinc.api import Model
from thinc.initializers import glorot_uniform_init
from thinc.types import Floats2d

from .. import kernels
from ..modules.parser.biaffine import Widths
from .param_shim import ParamShim, get_param_shim
from .ragged import join, no_backprop, split

InT = list[Floats2d]
# The slope of LeakyReLU below zero.
SLOPE = 0.1
# New labels start below the least probable one, so that they don't compete before they are learned.
NEW_LABEL_BIAS = -2.0
PARAMS = ("arc_W", "arc_b", "label_W", "label_b", "root")


@dataclass
class BiaffineStates:
    """What arcs of a batch are scored from, or its gradient.

    states (List[Floats2d]): The states of each sequence's tokens. Each (tokens, widths.total)
    params (Dict[str, FloatsXd]): The parameters of the biaffine scores, by name.
    """

    states: list[Floats2d]
    params: dict[str, Any]


def biaffine(
    arc_width: int,
    label_width: int,
    nO: int | None = None,
    nI: int | None = None,
    *,
    int8: bool = False,
) -> Model[InT, BiaffineStates]:
    """Map tokens to their states as dependents and as heads. In training, whole features of a
    sequence are dropped (Gal & Ghahramani 2016).

    arc_width (int): The width of states for arcs.
    label_width (int): The width of states for labels.
    nO (Optional[int]): The number of labels.
    nI (Optional[int]): The input width.
    int8 (bool): Whether to predict with 8-bit integers.
    RETURNS (Model[List[Floats2d], BiaffineStates]): The layer.
    """
    return Model(
        "biaffine",
        forward,
        init=init,
        dims={"nO": nO, "nI": nI},
        params=dict.fromkeys(("W", "b", *PARAMS)),
        attrs={"widths": [arc_width, label_width], "dropout_rate": 0.0},
        shims=[ParamShim(int8=int8)],
    )


def get_widths(model: Model) -> Widths:
    """RETURNS (Widths): How the layer's states are divided."""
    return Widths(*model.attrs["widths"])


def forward(
    model: Model[InT, BiaffineStates], Xs: InT, is_train: bool
) -> tuple[BiaffineStates, Callable[[BiaffineStates], InT]]:
    """Map a batch. Sequences may be empty."""
    W, b = cast(Any, model.get_param("W")), cast(Any, model.get_param("b"))
    params = {name: model.get_param(name) for name in PARAMS}
    ops, lengths = model.ops, [len(X) for X in Xs]
    Xf = join(ops, Xs, W.shape[1])
    if not is_train and kernels.INSTRUCTIONS is not None and isinstance(Xf, numpy.ndarray):
        # BLIS is several times as slow on processors that it does not know.
        from ..modules.linear import predict_linear

        shim = get_param_shim(model)
        weights = shim.get_weights(model)
        Y = _activate(ops.xp, predict_linear(weights, "W", "b", Xf, int8=shim.int8))
        return BiaffineStates(split(Y, lengths), params), no_backprop
    Z = ops.affine(Xf, W, b)
    mask = _get_mask(model, lengths) if is_train else None
    Y = _activate(ops.xp, Z)
    if mask is not None:
        Y *= mask

    def backprop(gradient: BiaffineStates) -> InT:
        for name, param in gradient.params.items():
            model.inc_grad(name, param)
        dY = join(ops, gradient.states, len(b))
        if mask is not None:
            dY = dY * mask
        dY[:, :-1] *= ops.xp.where(Z[:, :-1] > 0, 1, ops.xp.float32(SLOPE))
        model.inc_grad("W", ops.gemm(dY, Xf, trans1=True))
        model.inc_grad("b", dY.sum(axis=0))
        return split(ops.gemm(dY, W), lengths)

    return BiaffineStates(split(Y, lengths), params), backprop


def _activate(xp: Any, Z: Any) -> Any:
    """RETURNS (Floats2d): LeakyReLU (Maas et al. 2013) of all but the last column, which scores
    sentence starts.
    """
    Y = SLOPE * Z
    xp.maximum(Z, Y, out=Y)
    Y[:, -1] = Z[:, -1]
    return Y


def _get_mask(model: Model, lengths: list[int]) -> Any:
    rate = model.attrs["dropout_rate"]
    if not rate:
        return None
    xp, width = model.ops.xp, get_widths(model).total
    masks: Any = model.ops.get_dropout_mask((len(lengths), width), rate)
    masks[:, -1] = 1
    return xp.repeat(masks, xp.asarray(lengths), axis=0)


def init(model: Model[InT, BiaffineStates], X: InT | None = None, Y: Any = None) -> None:
    """Infer the input width, and make the parameters. All scores of arcs and labels start at
    zero (Dozat & Manning 2017).
    """
    if X is not None and not model.has_dim("nI"):
        model.set_dim("nI", X[0].shape[1])
    ops, widths = model.ops, get_widths(model)
    model.set_param("W", glorot_uniform_init(ops, (widths.total, model.get_dim("nI"))))
    model.set_param("b", ops.alloc1f(widths.total))
    for name, shape in widths.get_shapes(model.get_dim("nO")).items():
        model.set_param(name, ops.alloc(shape))


def extend_labels(layer: Model[InT, BiaffineStates], nO: int) -> Model[InT, BiaffineStates]:
    """RETURNS (Model): A new layer with labels added at the end, for which an optimizer begins
    with its first step. The other labels keep their scores.
    """
    widths = get_widths(layer)
    int8 = get_param_shim(layer).int8
    new = biaffine(widths.arc, widths.label, nO, layer.get_dim("nI"), int8=int8)
    for name in ("W", "b", *PARAMS):
        old: Any = layer.get_param(name)
        values: Any = old.copy()
        if name.startswith("label"):
            values = layer.ops.alloc(widths.get_shapes(nO)[name])
            values[: len(old)] = old
        if name == "label_b":
            # Each label's last number is its score for any dependent and head.
            step = widths.label + 1
            values[len(old) + step - 1 :: step] = old[step - 1 :: step].min() + NEW_LABEL_BIAS
        new.set_param(name, values)
    return new
