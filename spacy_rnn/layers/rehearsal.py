"""An attribute of layers that says whether the model is rehearsing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from thinc.api import Model

_ATTR = "is_rehearsing"


@contextmanager
def rehearsal(*models: Any) -> Iterator[None]:
    """Set the attribute on all layers of models, and remove it at the end, as Thinc stores a
    layer's attributes. In rehearsal, layers see in training what they see in prediction: the whole
    text and every word. They learn from nothing but the gradient that they get: no word becomes a
    known one, and there is no language modelling. So an unchanged model is its own teacher.

    models (Optional[Model]): The model and its teacher.
    """
    layers = [layer for model in models if isinstance(model, Model) for layer in model.walk()]
    for layer in layers:
        layer.attrs[_ATTR] = True
    try:
        yield
    finally:
        for layer in layers:
            layer.attrs.pop(_ATTR, None)


def is_rehearsing(model: Model) -> bool:
    """RETURNS (bool): Whether a layer is called in rehearsal."""
    return _ATTR in model.attrs
