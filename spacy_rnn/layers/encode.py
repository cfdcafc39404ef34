"""The recurrent encoder as a Thinc layer."""

from collections.abc import Callable

from thinc.api import Model, get_width
from thinc.types import Floats2d
from thinc.util import partial

from ..modules.rnn.truncation import Limits
from .ragged import flatten, no_backprop, split, to_xp
from .torch_shim import TorchShim, get_shim

InT = list[Floats2d]
OutT = list[Floats2d]


def recurrent_encoder(
    shim: TorchShim, width: int, dropout: float | None, limits: Limits
) -> Model[InT, OutT]:
    """Encode sequences of vectors with the recurrent module of a shim.

    shim (TorchShim): Builds a module that is called with the flat batch and the lengths, needs
        `nI`, and has an output of the given width.
    width (int): The output width.
    dropout (Optional[float]): The rate of dropout in training; None follows the training loop.
    limits (Limits): How much of a sequence is computed at a time.
    RETURNS (Model[List[Floats2d], List[Floats2d]]): The layer; each output has as many rows as
        its input.
    """
    # spaCy sets this attribute on all layers that have it. What is the layer's own is bound to
    # the function instead: attributes are stored, and would outlive the config.
    attrs = {"dropout_rate": 0.0} if dropout is None else {}
    return Model(
        shim.layer,
        partial(forward, dropout, limits),
        init=init,
        dims={"nI": None, "nO": width},
        attrs=attrs,
        shims=[shim],
    )


def forward(
    dropout: float | None, limits: Limits, model: Model[InT, OutT], Xs: InT, is_train: bool
) -> tuple[OutT, Callable]:
    """Encode a batch. Sequences may be empty; what they are encoded to does not depend on the
    others in the batch.
    """
    shim = get_shim(model)
    shim.require_module()
    ops, width = model.ops, model.get_dim("nO")
    lengths = [len(X) for X in Xs]
    if not any(lengths):
        return [ops.alloc2f(0, width) for _ in Xs], lambda dYs: _empty_like(model, Xs)
    Xf = flatten(ops, Xs, shim.device)
    if not is_train:
        return split(to_xp(shim.predict(Xf, lengths, limits=limits)), lengths), no_backprop
    rate = model.attrs["dropout_rate"] if dropout is None else dropout
    Yf, backprop_torch = shim.begin_update(Xf, lengths, dropout=rate, is_train=True, limits=limits)

    def backprop(dYs: OutT) -> InT:
        dXf = backprop_torch(flatten(ops, dYs, shim.device))
        assert dXf is not None
        return split(to_xp(dXf), lengths)

    return split(to_xp(Yf), lengths), backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Infer the input width, and make the module."""
    if X is not None:
        model.set_dim("nI", get_width(X), force=True)
    if model.has_dim("nI"):
        get_shim(model).initialize(nI=model.get_dim("nI"))


def _empty_like(model: Model, Xs: InT) -> InT:
    return [model.ops.alloc2f(0, model.get_dim("nI")) for _ in Xs]
