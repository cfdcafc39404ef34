"""Encoders inside components: found, and run in another way for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from spacy.language import Language
from thinc.api import Model

from ..layers.torch_shim import find_layers
from ..modules.networks import Network


def find_encoder(nlp: Language, component: str, network: Network) -> Model:
    """Find the encoder of a component.

    nlp (Language): The pipeline.
    component (str): The name of the component.
    network (Network): What the encoder runs.
    RETURNS (Model): The layer.
    RAISES (ValueError): If there is no such component, or no single encoder in it.
    """
    if component not in nlp.component_names:
        raise ValueError(
            f"There is no component {component!r} in the pipeline: choose one of "
            f"{', '.join(nlp.component_names)}."
        )
    model = getattr(nlp.get_pipe(component), "model", None)
    found = find_layers(model, network) if isinstance(model, Model) else []
    if len(found) != 1:
        name = network.module.split(":")[1]
        raise ValueError(
            f"Component {component!r} has {len(found)} layers of the kind {name}, not one. If it "
            "listens to another component, name that one."
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
