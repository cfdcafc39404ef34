"""Encoders of context as Thinc layers."""

from collections.abc import Callable
from typing import Any

from thinc.api import Model, get_width
from thinc.types import Floats2d
from thinc.util import partial

from .ragged import join, run_module, split
from .torch_shim import TorchShim, get_shim

InT = list[Floats2d]
OutT = list[Floats2d]


def context_encoder(
    shim: TorchShim, width: int, dropout: float | None, options: dict[str, Any]
) -> Model[InT, OutT]:
    """Encode sequences of vectors with the module of a shim.

    shim (TorchShim): Builds a module that is called with the flat batch and the lengths, needs
        `nI`, and has an output of the given width.
    width (int): The output width.
    dropout (Optional[float]): The rate of dropout in training; None follows the training loop.
    options (Dict[str, Any]): More arguments of the module.
    RETURNS (Model[List[Floats2d], List[Floats2d]]): The layer; each output has as many rows as
        its input.
    """
    # spaCy sets this attribute on all layers that have it. Settings are bound to the function
    # instead, as attributes are stored, and would outlive the config.
    attrs = {"dropout_rate": 0.0} if dropout is None else {}
    return Model(
        shim.layer,
        partial(forward, dropout, options),
        init=init,
        dims={"nI": None, "nO": width},
        attrs=attrs,
        shims=[shim],
    )


def forward(
    dropout: float | None, options: dict[str, Any], model: Model[InT, OutT], Xs: InT, is_train: bool
) -> tuple[OutT, Callable]:
    """Encode a batch. Sequences may be empty. The output for one does not depend on the others."""
    get_shim(model).require_weights()
    ops, lengths = model.ops, [len(X) for X in Xs]
    if not any(lengths):
        return _make_empty(model, "nO", Xs), lambda dYs: _make_empty(model, "nI", Xs)
    if is_train:
        rate = model.attrs["dropout_rate"] if dropout is None else dropout
        options = {**options, "dropout": rate, "is_train": True}
    Yf, backprop = run_module(model, join(ops, Xs), is_train, lengths, **options)
    return split(Yf, lengths), lambda dYs: split(backprop(join(ops, dYs)), lengths)


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Infer the input width, and make the module."""
    if X is not None:
        model.set_dim("nI", get_width(X), force=True)
    if model.has_dim("nI"):
        get_shim(model).initialize(nI=model.get_dim("nI"))


def _make_empty(model: Model, dim: str, Xs: InT) -> OutT:
    return [model.ops.alloc2f(0, model.get_dim(dim)) for _ in Xs]
