"""The base of all our components, on top of the spaCy class that each of them extends."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import Doc
from spacy.training import Example

from ..layers.rehearsal import rehearsal
from .extensions import Extension
from .loading import LoadsWithErrors
from .read_ahead import ReadsAhead
from .settings import CheckedSettings


class RNNPipeMixin(ReadsAhead, LoadsWithErrors):
    """Give a trainable component extension attributes, checked settings and rehearsal, and check
    the `tok2vec` that it listens to. Goes before spaCy's class in the list of bases.

    extension_setting (str): The setting that chooses other names for extension attributes.
    """

    extension_setting = "extension_prefix"

    cfg: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        self.register_extensions()

    @property
    def extensions(self) -> list[Extension]:
        """RETURNS (List[Extension]): The extension attributes that the component sets."""
        return []

    def register_extensions(self) -> None:
        """Register the extension attributes. Called when a component is made or restored."""
        for extension in self.extensions:
            extension.register(self.name, self.extension_setting)

    def check_settings(self, **settings: Any) -> None:
        """Set settings in `cfg`, and check them and whatever is set there later."""
        self.cfg = CheckedSettings(self.name, type(self), self.cfg, **settings)

    def update(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, float]:
        """Learn from a batch. The arguments are as in spaCy's class."""
        listener = self._get_listener()
        if listener is not None and listener._outputs is not None:
            self._check_width(listener, [Y.shape[1] for Y in listener._outputs])
        return super().update(examples, **kwargs)  # type: ignore[misc]

    def predict(self, docs: Iterable[Doc]) -> Any:
        """Predict a batch. Argument and return value are as in spaCy's class."""
        docs = list(docs)
        self.require_tok2vec(docs)
        return super().predict(docs)  # type: ignore[misc]

    def rehearse(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, float]:
        """Update the model towards its predictions before training, so that it does not forget.
        Without `nlp.resume_training`, which keeps that model, nothing is done.

        examples (Iterable[Example]): The batch. A model that listens to another component needs
            that component's annotation on the predicted Docs.
        kwargs (Any): The arguments of spaCy's method: `drop`, `sgd` and `losses`.
        RETURNS (Dict[str, float]): The updated `losses`.
        """
        with rehearsal(self.model, getattr(self, "_rehearsal_model", None)):
            return super().rehearse(examples, **kwargs)  # type: ignore[misc]

    def require_tok2vec(self, docs: Sequence[Doc]) -> None:
        """Raise a ValueError if the model listens to a `tok2vec` that did not process the Docs, for
        which spaCy's listener would return zeros, or that has another width.
        """
        listener = self._get_listener()
        if listener is None:
            return
        for doc in docs:
            if len(doc) != len(doc.tensor):
                raise ValueError(
                    f"Component {self.name!r} listens to a tok2vec component (upstream "
                    f"{listener.upstream_name!r}) that has not processed the Doc "
                    f"{doc.text[:60]!r}. Put that component before this one. If this one has a "
                    "source, take its tok2vec from there too, or give it a copy of its own by "
                    "nlp.replace_listeners. In training, a tok2vec belongs into "
                    "[training] annotating_components if one that listens to it does."
                )
        self._check_width(listener, [doc.tensor.shape[1] for doc in docs if len(doc)])

    def check_loss(self, loss: float) -> None:
        """Raise a ValueError if a loss is not a number."""
        if math.isnan(loss):
            raise ValueError(
                f"The loss of component {self.name!r} is not a number: training has diverged. "
                "Try a lower learn rate, or grad_clip in [training.optimizer]."
            )

    def _get_listener(self) -> Tok2VecListener | None:
        layers = self.model.walk()
        return next((layer for layer in layers if isinstance(layer, Tok2VecListener)), None)

    def _check_width(self, listener: Tok2VecListener, widths: Iterable[int]) -> None:
        width = listener.get_dim("nO")
        for found in widths:
            if found != width:
                raise ValueError(
                    f"Component {self.name!r} listens to a tok2vec component (upstream "
                    f"{listener.upstream_name!r}) for vectors of width {width}, and gets them "
                    f"{found} wide: set width = {found} of its spacy.Tok2VecListener.v1, or "
                    "width = ${components.tok2vec.model.encode.width}."
                )
