"""The layer that listens to a language model earlier in the pipeline."""

from collections.abc import Callable
from typing import Any

from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats3d

from .ragged import no_backprop
from .torch_shim import get_shim

InT = list[Doc]
OutT = list[Floats3d]

_LISTENER = "bilm_listener"


class Gradients:
    """The sum of the gradients that listeners have for a batch.

    docs (List[Doc]): The batch.
    layers (List[Floats3d]): The language model's output for it.
    backprop (Callable): The language model's callback.

    is_empty (bool): Whether no listener has added anything yet.
    """

    def __init__(self, docs: InT, layers: OutT, backprop: Callable):
        self._ids = list(map(id, docs))
        # Docs are kept, so that no other gets their ID.
        self._docs = docs
        self._sums = [layer * 0 for layer in layers]
        self._backprop = backprop
        self.is_empty = True

    def add(self, docs: InT, dYs: OutT) -> None:
        """Add the gradient for some of the batch."""
        places = {identifier: i for i, identifier in enumerate(self._ids)}
        for doc, dY in zip(docs, dYs, strict=True):
            self._sums[places[id(doc)]] += dY
        self.is_empty = False

    def has(self, docs: InT) -> bool:
        """RETURNS (bool): Whether these Docs are in the batch."""
        return set(map(id, docs)) <= set(self._ids)

    def backprop(self) -> None:
        """Pass the sum to the language model."""
        self._backprop(self._sums)

    def __getstate__(self) -> dict[str, Any]:
        # A copy of a pipeline begins with its next batch.
        empty: InT = []
        return {**vars(Gradients(empty, [], no_backprop)), "is_empty": True}


class Listener:
    """The connection of a layer to the component of a language model, kept in the layer's
    attributes, as `Model.copy` copies those. Takes the component's name; "*" is any.
    """

    def __init__(self, upstream: str):
        self.upstream = upstream
        self.extension = "bilm"
        self.gradients: Gradients | None = None
        # Docs for initialisation, which have not been through the pipeline.
        self.samples: InT = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "gradients": None, "samples": []}

    def connect(self, layer: Model, bilm: Model, extension: str) -> None:
        """Take over the sizes of the language model.

        layer (Model): The layer that listens.
        bilm (Model): The language model.
        extension (str): The Doc's extension attribute with that one's output.
        """
        self.extension = extension
        layer.set_dim("nO", bilm.get_dim("nO"), force=True)
        layer.attrs["n_layers"] = get_shim(bilm).settings["depth"] + 1


def get_listener(layer: Model) -> Listener | None:
    """RETURNS (Optional[Listener]): The connection of a layer, if it listens."""
    return layer.attrs.get(_LISTENER)


def bilm_listener(upstream: str) -> Model[InT, OutT]:
    """Look up a language model's output, `doc._.bilm`.

    upstream (str): The name of its component; "*" is any.
    RETURNS (Model[List[Doc], List[Floats3d]]): The layer. Each (layers, tokens, width)
    """
    return Model(
        "bilm_listener",
        forward,
        init=init,
        dims={"nO": None},
        attrs={_LISTENER: Listener(upstream), "n_layers": 0},
    )


def forward(model: Model[InT, OutT], docs: InT, is_train: bool) -> tuple[OutT, Callable]:
    """Look up the layers of a batch."""
    listener: Listener = model.attrs[_LISTENER]
    layers = [_get_layers(model, listener, doc) for doc in docs]
    gradients = listener.gradients if is_train else None

    def backprop(dYs: OutT) -> InT:
        if gradients is not None and gradients.has(docs):
            gradients.add(docs, dYs)
        return []

    return layers, backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Remember the sample, whose Docs have not been through the pipeline."""
    listener: Listener = model.attrs[_LISTENER]
    if X and not model.has_dim("nO"):
        raise ValueError(
            f'A layer that listens to the component {listener.upstream!r} ("*" is any) found none '
            'that is a language model: put the component "bilm" before this one in the pipeline.'
        )
    listener.samples = list(X or [])


def _get_layers(model: Model[InT, OutT], listener: Listener, doc: Doc) -> Any:
    user_data: dict[Any, Any] = doc.user_data
    layers = user_data.get(("._.", listener.extension, None, None))
    if layers is not None and layers.shape[1] == len(doc):
        listener.samples = []
        return model.ops.asarray(layers)
    if not len(doc) or any(doc is sample for sample in listener.samples):
        return model.ops.alloc((model.attrs["n_layers"], len(doc), model.get_dim("nO")))
    raise ValueError(
        f"A layer that listens to the component {listener.upstream!r} found no layers of a "
        f"language model for the Doc {doc.text[:60]!r}: doc._.{listener.extension} is "
        f"{'not set' if layers is None else 'for another number of tokens'}. Put the component "
        '"bilm" before this one, and if it is in [training] frozen_components, also into '
        "annotating_components."
    )
