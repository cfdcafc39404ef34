"""What all our components have in common, on top of the spaCy class each of them is."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch
from thinc.api import Optimizer

from ..layers.rehearsal import rehearsal
from ..modules.workers import count_threads
from .extensions import Extension
from .read_ahead import Prediction, may_share, predict_ahead, read_windows
from .settings import CheckedSettings

# Tokens that a component reads ahead, so that sentences of similar length can be computed
# together: more fills the encoder's buckets better, but costs memory.
TOKEN_BUDGET = 8_000

# Tokens that are worth a thread.
MIN_TOKENS = 1_000

# On so many threads of torch's each computes a window of its own; more share one, as they would
# keep too many windows in memory.
MAX_AHEAD = 4


class RNNPipeMixin:
    """Give a trainable component wide windows in `pipe`, whatever the batch size, and errors
    that name the file when loading fails. Goes before spaCy's class in the list of bases.

    predicts_ahead (bool): Whether windows may be computed in other threads while the next ones are
        read. That keeps some of them in memory at once, with what is predicted for them, and a
        component that is changed while it streams would see the change some windows later.
    extension_setting (str): The setting that chooses other names for extension attributes.
    max_window (Optional[int]): At most so many tokens are read for each of those windows, where
        what is predicted takes much memory.
    """

    predicts_ahead = True
    max_window: int | None = None
    extension_setting = "extension_prefix"

    name: str
    cfg: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        self.register_extensions()

    @property
    def extensions(self) -> list[Extension]:
        """RETURNS (List[Extension]): The extension attributes that the component sets."""
        return []

    def register_extensions(self) -> None:
        """Register the extension attributes, when the component is made or restored."""
        for extension in self.extensions:
            extension.register(self.name, self.extension_setting)

    def check_settings(self) -> None:
        """Check `cfg`, and from now on whatever is set there."""
        self.cfg = CheckedSettings(self.name, type(self), self.cfg)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch as spaCy's class does.

        examples (Iterable[Example]): The batch.
        drop (float): The dropout rate.
        sgd (Optional[Optimizer]): The optimizer.
        losses (Optional[Dict[str, float]]): Where to add the loss to.
        RETURNS (Dict[str, float]): The updated `losses`.
        """
        listener = self._get_listener()
        if listener is not None and listener._outputs is not None:
            self._check_width(listener, [Y.shape[1] for Y in listener._outputs])
        return super().update(examples, drop=drop, sgd=sgd, losses=losses)  # type: ignore[misc]

    def predict(self, docs: Iterable[Doc]) -> Any:
        """Predict a batch as spaCy's class does.

        docs (Iterable[Doc]): The Docs.
        RETURNS: What spaCy's class returns.
        """
        docs = list(docs)
        self.require_tok2vec(docs)
        return super().predict(docs)  # type: ignore[misc]

    def require_tok2vec(self, docs: Sequence[Doc]) -> None:
        """Raise a ValueError if the model listens to a `tok2vec` that did not process the Docs, to
        which spaCy's listener would give zeros, or whose vectors have another width.

        docs (Sequence[Doc]): The Docs.
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
        layers = self.model.walk()  # type: ignore[attr-defined]
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

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Apply the component to a stream of Docs, in order.

        Docs are read ahead until there are `TOKEN_BUDGET` tokens, so that the model can compute
        sentences of similar length together, and at most one Doc beyond that. On a CPU with up to
        `MAX_AHEAD` threads, the next windows are read while the model computes, one on each
        thread, unless it has layers of others that threads may not share; the first windows are
        smaller then. With `batch_size=1` nothing is read ahead, for streams that arrive slowly.

        stream (Iterable[Doc]): The Docs.
        batch_size (int): How many Docs to pass to the error handler together, where a window
            fails. 1 turns reading ahead off.
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
        model = self.model  # type: ignore[attr-defined]
        if batch_size == 1:
            return predict_ahead(predict, read_windows(stream, 1), 0)
        n_ahead = count_threads()
        if not self.predicts_ahead or not 1 < n_ahead <= MAX_AHEAD or not may_share(model):
            n_ahead = 0
        budget = TOKEN_BUDGET
        if n_ahead and self.max_window is not None:
            budget = min(budget, self.max_window)
        windows = read_windows(stream, budget, n_ahead, MIN_TOKENS)
        return predict_ahead(predict, windows, n_ahead, MIN_TOKENS)

    def rehearse(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, float]:
        """Update the model towards the predictions of the one that training began with, so that it
        does not forget. `nlp.resume_training` keeps that; without, nothing is done.

        examples (Iterable[Example]): The batch. A model that listens to another component needs
            that one's annotation on the predicted Docs.
        kwargs (Any): The arguments of spaCy's method: `drop`, `sgd` and `losses`.
        RETURNS (Dict[str, float]): The updated `losses`.
        """
        with rehearsal():
            return super().rehearse(examples, **kwargs)  # type: ignore[misc]

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Any:
        """Load the component from a bytestring.

        bytes_data (bytes): What `to_bytes` returned.
        exclude (Iterable[str]): Names of serialization fields to leave out.
        RETURNS (TrainablePipe): The component itself.
        RAISES (ValueError): If the bytes are damaged, or another component's.
        """
        try:
            return super().from_bytes(bytes_data, exclude=exclude)  # type: ignore[misc]
        except Exception as err:
            raise ValueError(_loading_failed(self, "from bytes", err)) from err

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Any:
        """Load the component from a directory.

        path (str / Path): The directory.
        exclude (Iterable[str]): Names of serialization fields to leave out.
        RETURNS (TrainablePipe): The component itself.
        RAISES (ValueError): If a file is missing, damaged, or another component's.
        """
        # One file after the other, so that an error is about that file.
        path, files = Path(path), ("cfg", "model")
        for name in files:
            others = [other for other in files if other != name]
            if name in exclude:
                continue
            if not (path / name).is_file():
                raise ValueError(
                    f"Can't load component {self.name!r}: there is no file "
                    f"'{path / name}'. Is the directory a pipeline's, saved whole?"
                )
            try:
                super().from_disk(path, exclude=[*exclude, "vocab", *others])  # type: ignore[misc]
            except Exception as err:
                raise ValueError(_loading_failed(self, f"from '{path / name}'", err)) from err
        return super().from_disk(path, exclude=[*exclude, *files])  # type: ignore[misc]


def _loading_failed(component: Any, source: str, err: Exception) -> str:
    message = f"Can't load component {component.name!r} {source}: {err or type(err).__name__}"
    # Thinc's, whose layers are made by the config before they are filled.
    change = re.match(
        r"Attempt to change dimension '(\w+)' for model '(.+)' from (\d+) to", str(err)
    )
    if change is None:
        return message
    dimension, layer, size = change.groups()
    return (
        f"{message}. The file is of a model of other sizes: here {dimension} of layer {layer!r} is "
        f"{size}. Build the pipeline from the config.cfg that was saved with the file."
    )
