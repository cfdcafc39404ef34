"""Weights stored in half precision."""

from collections.abc import Iterator
from contextlib import contextmanager

from spacy.language import Language
from thinc.api import Model

from .torch_shim import TorchShim


@contextmanager
def half_precision(nlp: Language) -> Iterator[None]:
    """Inside this context, `to_disk` and `to_bytes` of a pipeline store the weights of our layers
    in half precision, in half the space. Loaded, they are in single precision again. Parameters of
    Thinc's and spaCy's layers stay as they are.

    nlp (Language): The pipeline.
    """
    models = [getattr(pipe, "model", None) for _, pipe in nlp.components]
    layers = [layer for model in models if isinstance(model, Model) for layer in model.walk()]
    shims = [shim for layer in layers for shim in layer.shims if isinstance(shim, TorchShim)]
    for shim in shims:
        shim.stores_half = True
    try:
        yield
    finally:
        for shim in shims:
            shim.stores_half = False
