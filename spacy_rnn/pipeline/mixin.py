"""The base of all our components, on top of the spaCy class that each of them extends."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch

from ..layers.rehearsal import rehearsal
from ..modules.workers import count_threads
from .extensions import Extension
from .loading import LoadsWithErrors
from .read_ahead import Prediction, may_share, predict_ahead, read_windows
from .settings import CheckedSettings

# Tokens in a window that is read ahead. A larger one has more sentences of similar length, but
# needs more memory.
TOKEN_BUDGET = 8_000

# The fewest tokens that are worth a thread.
MIN_TOKENS = 1_000

# With up to this many threads, each computes its own window. With more, all share one, to bound
# memory.
MAX_AHEAD = 4


class RNNPipeMixin(LoadsWithErrors):
    """Give a trainable component wide windows in `pipe`, whatever the batch size, extension
    attributes, checked settings and rehearsal. Goes before spaCy's class in the list of bases.

    predicts_ahead (bool): Whether other threads may compute windows while the next ones are read.
        That needs memory for several windows, and a change of the component during a stream takes
        effect some windows later.
    extension_setting (str): The setting that chooses other names for extension attributes.
    max_window (Optional[int]): The most tokens in each of those windows, for a component whose
        predictions need much memory.
    """

    predicts_ahead = True
    max_window: int | None = None
    extension_setting = "extension_prefix"

    model: Any
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
        """Learn from a batch. The arguments are those of spaCy's class."""
        listener = self._get_listener()
        if listener is not None and listener._outputs is not None:
            self._check_width(listener, [Y.shape[1] for Y in listener._outputs])
        return super().update(examples, **kwargs)  # type: ignore[misc]

    def predict(self, docs: Iterable[Doc]) -> Any:
        """Predict a batch. Argument and return value are those of spaCy's class."""
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

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Apply the component to a stream of Docs, in order.

        Windows of `TOKEN_BUDGET` tokens are read ahead, so that the model can compute sentences of
        similar length together. On a CPU with up to `MAX_AHEAD` threads, each thread computes a
        window while the next ones are read, unless the model has layers of others that threads may
        not share. With `batch_size=1` nothing is read ahead, for streams that arrive slowly.

        stream (Iterable[Doc]): The Docs.
        batch_size (int): How many Docs to pass to the error handler together if a window fails. 1
            turns reading ahead off.
        YIELDS (Doc): The processed Docs.
        """
        error_handler = self.get_error_handler()  # type: ignore[attr-defined]
        predict = self.predict
        for window, get_prediction in self._predict_windows(stream, batch_size):
            try:
                self.set_annotations(window, get_prediction())  # type: ignore[attr-defined]
            except Exception as err:
                if len(window) <= batch_size:
                    error_handler(self.name, self, window, err)
                    continue
                for docs in minibatch(window, batch_size):
                    try:
                        self.set_annotations(docs, predict(docs))  # type: ignore[attr-defined]
                    except Exception as batch_err:
                        error_handler(self.name, self, docs, batch_err)
                    else:
                        yield from docs
            else:
                yield from window

    def _predict_windows(self, stream: Iterable[Doc], batch_size: int) -> Iterator[Prediction]:
        predict = self.predict
        if batch_size == 1:
            return predict_ahead(predict, read_windows(stream, 1), 0)
        n_ahead = count_threads()
        if not self.predicts_ahead or not 1 < n_ahead <= MAX_AHEAD or not may_share(self.model):
            n_ahead = 0
        budget = TOKEN_BUDGET
        if n_ahead and self.max_window is not None:
            budget = min(budget, self.max_window)
        windows = read_windows(stream, budget, n_ahead, MIN_TOKENS)
        return predict_ahead(predict, windows, n_ahead, MIN_TOKENS)

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
