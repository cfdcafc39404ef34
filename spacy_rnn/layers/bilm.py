"""The bidirectional language model as a Thinc layer."""

from collections.abc import Callable
from typing import Any

import numpy
from spacy.attrs import IS_SPACE
from spacy.tokens import Doc
from thinc.api import Model, Ops
from thinc.types import Floats3d
from thinc.util import partial

from ..modules.networks import (
    ADAPTIVE_SOFTMAX,
    CHAR_CNN,
    FEED_FORWARD_LM,
    LEXEME_EMBEDDING,
    LM_STACK,
    TIED_SOFTMAX,
)
from .ragged import join, no_backprop, split
from .torch_shim import TorchShim, find_layers, get_shim

InT = list[Doc]
OutT = list[Floats3d]


def bilm(embed: Model, output: Model, shim: TorchShim, dropout: float | None) -> Model[InT, OutT]:
    """Run a bidirectional language model over Docs.

    embed (Model[List[Doc], List[Floats2d]]): The embedding layer.
    output (Model): Holds the softmax, which only pretraining and language modelling need.
    shim (TorchShim): Builds a `LMStack` or a `FeedForwardLM`.
    dropout (Optional[float]): The rate of dropout in training; None follows the training loop.
    RETURNS (Model[List[Doc], List[Floats3d]]): The layer: the embeddings and each recurrent layer's
        output. Each (layers, tokens, directions x width)
    """
    attrs = {"dropout_rate": 0.0} if dropout is None else {}
    n_directions = 2 if shim.settings["directions"] == "both" else 1
    return Model(
        shim.layer,
        partial(forward, dropout),
        init=init,
        dims={"nO": n_directions * shim.settings["width"]},
        layers=[embed, output],
        shims=[shim],
        attrs={**attrs, "replace_listener_cfg": replace_listener_config},
    )


def is_language_model(model: Model) -> bool:
    """RETURNS (bool): Whether a model is a language model, and not only has one inside."""
    return model in find_layers(model, LM_STACK, FEED_FORWARD_LM)


def get_embed(model: Model) -> Model:
    """RETURNS (Model): The embedding layer of a language model."""
    return find_layers(model, LEXEME_EMBEDDING, CHAR_CNN)[0]


def get_output(model: Model) -> Model:
    """RETURNS (Model): The layer that holds the softmax of a language model."""
    return find_layers(model, ADAPTIVE_SOFTMAX, TIED_SOFTMAX)[0]


def get_tensors(model: Model) -> list[Any]:
    """RETURNS (List[Tensor]): The parameters of a language model without the softmax; none without
    torch, where they don't change.
    """
    shims = [get_shim(layer) for layer in (model, get_embed(model))]
    return [tensor for shim in shims for tensor in shim.require_weights().tensors]


def replace_listener_config(bilm_config: dict[str, Any], tok2vec_config: dict[str, Any]) -> Any:
    """Make the config for `replace_listeners`, which replaces a listener by a copy of the language
    model.

    bilm_config (Dict[str, Any]): The config of the language model.
    tok2vec_config (Dict[str, Any]): The config around the listener.
    RETURNS (Dict[str, Any]): The config of a spacy-rnn.ScalarMix.v1.
    RAISES (ValueError): If there are several listeners with different settings.
    """
    listener, *others = _find_listeners(tok2vec_config) or [{}]
    if any(other != listener for other in others):
        raise ValueError(
            "Can't replace listeners of different settings beside each other: spaCy does not say "
            "which of them is meant."
        )
    kept = {key: value for key, value in listener.items() if key in ("width", "dropout")}
    return {"@architectures": "spacy-rnn.ScalarMix.v1", **kept, "bilm": bilm_config}


def _find_listeners(config: Any) -> list[dict[str, Any]]:
    if not isinstance(config, dict):
        return []
    if config.get("@architectures") == "spacy-rnn.BiLMListener.v1":
        return [config]
    return [listener for value in config.values() for listener in _find_listeners(value)]


def forward(
    dropout: float | None, model: Model[InT, OutT], docs: InT, is_train: bool
) -> tuple[OutT, Callable]:
    """Run the model. Docs may be empty. White space is not read, as in pretraining; its layers are
    zero.
    """
    ops, shim = model.ops, get_shim(model)
    shim.require_weights()
    lengths = [len(doc) for doc in docs]
    is_space = numpy.concatenate([doc.to_array([IS_SPACE]).ravel() for doc in docs])
    is_word = is_space == 0
    shape = (shim.settings["depth"] + 1, model.get_dim("nO"))
    if not is_word.any():
        return [ops.alloc((shape[0], n, shape[1])) for n in lengths], lambda dYs: []
    vectors, backprop_embed = get_embed(model)(docs, is_train)
    Xf = join(ops, vectors)
    words = ops.xp.asarray(numpy.flatnonzero(is_word))
    words_before = numpy.concatenate([[0], numpy.cumsum(is_word)])
    n_words = numpy.diff(words_before[numpy.cumsum([0, *lengths])]).tolist()
    has_space = len(words) < len(Xf)
    read = Xf[words] if has_space else Xf

    def spread(Y: Any) -> Any:
        if not has_space:
            return Y
        all_tokens = ops.alloc((len(Xf), *Y.shape[1:]))
        all_tokens[words] = Y
        return all_tokens

    if not is_train:
        return _split_layers(ops, spread(shim.predict(read, n_words)), lengths), no_backprop
    rate = model.attrs["dropout_rate"] if dropout is None else dropout
    Yf, backprop_stack = shim.begin_update(read, n_words, dropout=rate, is_train=True)

    def backprop(dYs: OutT) -> InT:
        dYf = ops.xp.concatenate([ops.xp.swapaxes(dY, 0, 1) for dY in dYs])
        dXf = backprop_stack(dYf[words] if has_space else dYf)
        return backprop_embed(split(spread(dXf), lengths))

    return _split_layers(ops, spread(Yf), lengths), backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Make the modules, but for the softmax, which needs a vocabulary."""
    get_embed(model).initialize(X=X)
    get_shim(model).initialize()


def _split_layers(ops: Ops, Yf: Any, lengths: list[int]) -> OutT:
    """Cut (tokens, layers, width) into sequences of (layers, tokens, width), each in its own
    memory, so that keeping one does not keep them all.
    """
    return [ops.xp.array(ops.xp.swapaxes(part, 0, 1), order="C") for part in split(Yf, lengths)]
