"""The bidirectional language model as a Thinc layer."""

from collections.abc import Callable

import torch
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats3d
from thinc.util import partial

from .ragged import flatten, no_backprop, split, to_torch, to_xp
from .torch_shim import TorchShim, get_shim

InT = list[Doc]
OutT = list[Floats3d]


def bilm(embed: Model, output: Model, shim: TorchShim, dropout: float | None) -> Model[InT, OutT]:
    """Run a bidirectional language model over Docs.

    embed (Model[List[Doc], List[Floats2d]]): The embedding layer.
    output (Model): Holds the softmax, which only pretraining and language modelling need.
    shim (TorchShim): Builds a `DirectedStack`.
    dropout (Optional[float]): The rate of dropout in training; None follows the training loop.
    RETURNS (Model[List[Doc], List[Floats3d]]): The layer: the embeddings and each recurrent layer's
        output. Each (layers, tokens, directions x width)
    """
    attrs = {"dropout_rate": 0.0} if dropout is None else {}
    settings = shim.settings
    n_directions = 2 if settings["directions"] == "both" else 1
    return Model(
        shim.layer,
        partial(forward, dropout),
        init=init,
        dims={"nO": n_directions * settings["width"]},
        layers=[embed, output],
        refs={"embed": embed, "output": output},
        shims=[shim],
        attrs=attrs,
    )


def forward(
    dropout: float | None, model: Model[InT, OutT], docs: InT, is_train: bool
) -> tuple[OutT, Callable]:
    """Run the model. Docs may be empty."""
    shim = get_shim(model)
    shim.require_module()
    lengths = [len(doc) for doc in docs]
    if not any(lengths):
        shape = (shim.settings["depth"] + 1, 0, model.get_dim("nO"))
        return [model.ops.alloc(shape) for _ in docs], lambda dYs: []
    vectors, backprop_embed = model.get_ref("embed")(docs, is_train)
    Xf = flatten(model.ops, vectors, shim.device)
    if not is_train:
        return _split_layers(shim.predict(Xf, lengths), lengths), no_backprop
    rate = model.attrs["dropout_rate"] if dropout is None else dropout
    Yf, backprop_torch = shim.begin_update(Xf, lengths, dropout=rate, is_train=True)

    def backprop(dYs: OutT) -> InT:
        dYf = torch.cat([to_torch(dY, shim.device).transpose(0, 1) for dY in dYs])
        dXf = backprop_torch(dYf)
        assert dXf is not None
        return backprop_embed(split(to_xp(dXf), lengths))

    return _split_layers(Yf, lengths), backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Make the modules, but for the softmax, which needs a vocabulary."""
    model.get_ref("embed").initialize(X=X)
    get_shim(model).initialize()


def _split_layers(Yf: torch.Tensor, lengths: list[int]) -> OutT:
    """Cut (tokens, layers, width) into sequences of (layers, tokens, width), each in one piece."""
    return [to_xp(part.transpose(0, 1).contiguous()) for part in Yf.split(lengths)]
