"""Encoders inside components: found, run in another way for a while, and what they read."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model

from ..layers.bilm import get_embed
from ..layers.ragged import join
from ..layers.torch_arrays import to_torch
from ..layers.torch_shim import find_layers, get_shim
from ..modules.networks import ENCODER, LM_STACK, Network


def find_encoder(nlp: Language, component: str, *networks: Network) -> Model:
    """Find the encoder of a component.

    nlp (Language): The pipeline.
    component (str): The name of the component.
    networks (Network): What the encoder may run.
    RETURNS (Model): The layer.
    RAISES (ValueError): If there is no such component, or no single encoder in it.
    """
    if component not in nlp.component_names:
        raise ValueError(
            f"There is no component {component!r} in the pipeline: choose one of "
            f"{', '.join(nlp.component_names)}."
        )
    model = getattr(nlp.get_pipe(component), "model", None)
    found = find_layers(model, *networks) if isinstance(model, Model) else []
    if len(found) != 1:
        names = " or ".join(network.module.split(":")[1] for network in networks)
        raise ValueError(
            f"Component {component!r} has {len(found)} layers of the kind {names}, not one. If it "
            "listens to another component, name that one."
        )
    return found[0]


def choose_component(nlp: Language, component: str | None) -> str:
    """Choose the component with recurrent layers.

    nlp (Language): The pipeline.
    component (Optional[str]): The name that the user gave.
    RETURNS (str): That name, or the name of the only component with recurrent layers.
    RAISES (ValueError): If there is none, or several and no name.
    """
    if component is not None:
        return component
    models = {name: getattr(pipe, "model", None) for name, pipe in nlp.components}
    found = [
        name
        for name, model in models.items()
        if isinstance(model, Model) and find_layers(model, ENCODER, LM_STACK)
    ]
    if len(found) != 1:
        raise ValueError(
            "Name a component with recurrent layers by --component: the pipeline has "
            f"{', '.join(found) or 'none'}."
        )
    return found[0]


@contextmanager
def replace_forward(layer: Model, forward: Callable[..., Any]) -> Iterator[None]:
    """Run a layer by another function inside a context. Other threads would run it too.

    layer (Model): The layer.
    forward (Callable): The function, with the arguments of the layer's own.
    """
    before, layer._func = layer._func, forward
    try:
        yield
    finally:
        layer._func = before


@dataclass(frozen=True)
class Inputs:
    """What recurrent layers read.

    module (nn.Module): An `EncoderStack`, or a `LMStack`.
    is_lm (bool): Whether it is the latter.
    arrays (List[Tensor]): The input for each Doc. (tokens, nI)
    """

    module: Any
    is_lm: bool
    arrays: list[Any]


def read_inputs(nlp: Language, docs: Iterable[Doc], component: str) -> Inputs:
    """Run what is before the recurrent layers of a component.

    nlp (Language): The pipeline.
    docs (Iterable[Doc]): Docs that the components before this one have processed.
    component (str): The name of the component.
    RETURNS (Inputs): The layers, and their input. A language model does not read white space.
    """
    layer = find_encoder(nlp, component, ENCODER, LM_STACK)
    shim, found = get_shim(layer), list[Any]()
    is_lm = shim.network == LM_STACK
    if is_lm:
        docs = list(docs)
        for doc, vectors in zip(docs, get_embed(layer).predict(docs), strict=True):
            found.append(vectors[numpy.flatnonzero([not token.is_space for token in doc])])
    else:
        run: Any = layer._func

        def record(model: Model, Xs: Any, is_train: bool) -> Any:
            found.append(join(model.ops, Xs, layer.get_dim("nI")))
            return run(model, Xs, is_train)

        pipe: Any = nlp.get_pipe(component)
        with replace_forward(layer, record):
            for n_docs, doc in enumerate(docs, start=1):
                pipe.predict([doc])
                # Some components don't run their model on an empty Doc.
                if len(found) < n_docs:
                    found.append(layer.ops.alloc2f(0, layer.get_dim("nI")))
    return Inputs(shim.require_module(), is_lm, [to_torch(X, shim.device) for X in found])
