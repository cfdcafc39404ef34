"""Pooling as a Thinc layer."""

from collections.abc import Callable

from thinc.api import Model, get_width
from thinc.types import Floats2d

from .ragged import join, run_module, split
from .torch_shim import TorchShim, get_shim

InT = list[Floats2d]
OutT = Floats2d


def pool(shim: TorchShim) -> Model[InT, OutT]:
    """Pool the vectors of sequences.

    shim (TorchShim): Builds a `Pooling`; needs `nI`.
    RETURNS (Model[List[Floats2d], Floats2d]): The layer; one row of output for each sequence.
    """
    return Model(shim.layer, forward, init=init, dims={"nI": None, "nO": None}, shims=[shim])


def forward(model: Model[InT, OutT], Xs: InT, is_train: bool) -> tuple[OutT, Callable]:
    """Pool a batch. Sequences may be empty."""
    get_shim(model).require_weights()
    lengths = [len(X) for X in Xs]
    if not any(lengths):
        return model.ops.alloc2f(len(Xs), model.get_dim("nO")), lambda dY: list(Xs)
    Y, backprop = run_module(model, join(model.ops, Xs), is_train, lengths)
    return Y, lambda dY: split(backprop(dY), lengths)


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Infer the input width, and make the module."""
    if X is not None:
        model.set_dim("nI", get_width(X), force=True)
    if model.has_dim("nI"):
        shim = get_shim(model)
        shim.initialize(nI=model.get_dim("nI"))
        model.set_dim("nO", shim.require_module().nO, force=True)


def get_attention(model: Model[InT, OutT], Xs: InT) -> InT:
    """Get the attention weights of tokens.

    model (Model[List[Floats2d], Floats2d]): The layer, with attention.
    Xs (List[Floats2d]): A batch.
    RETURNS (List[Floats2d]): The weights. Each head's add up to 1. Each (tokens, heads)
    """
    shim, lengths = get_shim(model), [len(X) for X in Xs]
    shim.require_weights()
    if not any(lengths):
        heads = shim.settings["attention_heads"]
        return [model.ops.alloc2f(0, heads) for _ in Xs]
    return split(shim.predict(join(model.ops, Xs), lengths, attend=True), lengths)
