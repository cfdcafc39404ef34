"""Listening to a language model earlier in the pipeline, whose layers are in `doc._.bilm`."""

from collections.abc import Callable
from typing import Any

from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats3d

from .ragged import no_backprop
from .torch_shim import get_shim

InT = list[Doc]
OutT = list[Floats3d]

_LINK = "bilm_link"


class Gradients:
    """What the listeners to one batch give back to the language model, added up.

    docs (List[Doc]): The batch.
    layers (List[Floats3d]): What it was encoded to.
    backprop (Callable): Takes the gradient of that.

    is_empty (bool): Whether no listener has given anything yet.
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
        """Give all of it to the language model."""
        self._backprop(self._sums)

    def __getstate__(self) -> dict[str, Any]:
        # A copy of a pipeline begins with its next batch.
        empty: InT = []
        return {**vars(Gradients(empty, [], no_backprop)), "is_empty": True}


class Link:
    """What ties a listener to its component.

    upstream (str): The component's name; "*" is any.
    """

    def __init__(self, upstream: str):
        self.upstream = upstream
        self.extension = "bilm"
        self.gradients: Gradients | None = None
        # Docs that sizes are inferred from, which have not been through the pipeline.
        self.samples: InT = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "gradients": None, "samples": []}

    def connect(self, listener: Model, model: Model, extension: str) -> None:
        """Take over the sizes of the language model.

        listener (Model): The layer that this is the link of.
        model (Model): The language model.
        extension (str): The Doc's extension attribute that will have its layers.
        """
        self.extension = extension
        listener.set_dim("nO", model.get_dim("nO"), force=True)
        listener.attrs["n_layers"] = get_shim(model).settings["depth"] + 1


def get_link(node: Model) -> Link | None:
    """RETURNS (Optional[Link]): The link of a layer, if it is a listener."""
    return node.attrs.get(_LINK)


def bilm_listener(upstream: str) -> Model[InT, OutT]:
    """Take a language model's layers from Docs.

    upstream (str): The name of its component; "*" is any.
    RETURNS (Model[List[Doc], List[Floats3d]]): The layer. Each (layers, tokens, width)
    """
    return Model(
        "bilm_listener",
        forward,
        init=init,
        dims={"nO": None},
        attrs={_LINK: Link(upstream), "n_layers": 0},
    )


def forward(model: Model[InT, OutT], docs: InT, is_train: bool) -> tuple[OutT, Callable]:
    """Take the layers of a batch."""
    link = get_link(model)
    assert link is not None
    layers = [_get_layers(model, link, doc) for doc in docs]
    gradients = link.gradients if is_train else None

    def backprop(dYs: OutT) -> InT:
        if gradients is not None and gradients.has(docs):
            gradients.add(docs, dYs)
        return []

    return layers, backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Be ready for Docs that have not been through the pipeline."""
    link = get_link(model)
    assert link is not None
    if X and not model.has_dim("nO"):
        raise ValueError(
            f'A layer that listens to the component {link.upstream!r} ("*" is any) found none '
            'that is a language model: put the component "bilm" before this one in the pipeline.'
        )
    link.samples = list(X or [])


def _get_layers(model: Model[InT, OutT], link: Link, doc: Doc) -> Any:
    user_data: dict[Any, Any] = doc.user_data
    layers = user_data.get(("._.", link.extension, None, None))
    if layers is not None and layers.shape[1] == len(doc):
        link.samples = []
        return model.ops.asarray(layers)
    if not len(doc) or any(doc is sample for sample in link.samples):
        return model.ops.alloc((model.attrs["n_layers"], len(doc), model.get_dim("nO")))
    raise ValueError(
        f"A layer that listens to the component {link.upstream!r} found no layers of a language "
        f"model for the Doc {doc.text[:60]!r}: doc._.{link.extension} is "
        f"{'not set' if layers is None else 'for another number of tokens'}. Put the component "
        '"bilm" before this one, and if it is in [training] frozen_components, also into '
        "annotating_components."
    )
