"""What all our components have in common, on top of the spaCy class each of them is."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from spacy.tokens import Doc
from spacy.util import minibatch

from ..modules.workers import count_workers, start_task

# Tokens that a component reads ahead, so that sentences of similar length can be computed
# together: more fills the encoder's buckets better, but costs memory.
TOKEN_BUDGET = 8_000

# A window of Docs, and a function that returns what is predicted for it, or raises what went wrong.
Prediction = tuple[list[Doc], Callable[[], Any]]


class RNNPipeMixin:
    """Give a trainable component wide windows in `pipe`, whatever the batch size, and errors
    that name the file when loading fails. Goes before spaCy's class in the list of bases.

    predicts_ahead (bool): Whether windows are computed in other threads while the next ones are
        read. That keeps some of them in memory at once, with what is predicted for them.
    """

    predicts_ahead = True

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Apply the component to a stream of Docs, in order.

        Docs are read ahead until there are `TOKEN_BUDGET` tokens, so that the model can compute
        sentences of similar length together, and at most one Doc beyond that. On a CPU the next
        windows are read while the model computes, one window on each of torch's threads. With
        `batch_size=1` nothing is read ahead, for streams that arrive slowly.

        stream (Iterable[Doc]): The Docs.
        batch_size (int): How many Docs to pass to the error handler together, where a window
            fails. 1 turns reading ahead off.
        YIELDS (Doc): The processed Docs.
        """
        error_handler = self.get_error_handler()  # type: ignore[attr-defined]
        predict = self.predict  # type: ignore[attr-defined]
        for window, get_prediction in self._predict_windows(stream, batch_size):
            try:
                self.set_annotations(window, get_prediction())  # type: ignore[attr-defined]
            except Exception as err:
                if len(window) <= batch_size:
                    error_handler(self.name, self, window, err)  # type: ignore[attr-defined]
                    continue
                for docs in minibatch(window, batch_size):
                    try:
                        self.set_annotations(docs, predict(docs))  # type: ignore[attr-defined]
                    except Exception as batch_err:
                        error_handler(self.name, self, docs, batch_err)  # type: ignore[attr-defined]
                    else:
                        yield from docs
            else:
                yield from window

    def _predict_windows(self, stream: Iterable[Doc], batch_size: int) -> Iterator[Prediction]:
        predict = self.predict  # type: ignore[attr-defined]
        budget = 1 if batch_size == 1 else TOKEN_BUDGET
        is_cpu = self.model.ops.device_type == "cpu"  # type: ignore[attr-defined]
        is_ahead = self.predicts_ahead and is_cpu and batch_size > 1
        n_ahead = count_workers() if is_ahead else 0
        return predict_ahead(predict, read_windows(stream, budget), budget, n_ahead)

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
                    f"Can't load component {self.name!r}: there is no file "  # type: ignore[attr-defined]
                    f"'{path / name}'. Is the directory a pipeline's, saved whole?"
                )
            try:
                super().from_disk(path, exclude=[*exclude, "vocab", *others])  # type: ignore[misc]
            except Exception as err:
                raise ValueError(_loading_failed(self, f"from '{path / name}'", err)) from err
        return super().from_disk(path, exclude=[*exclude, *files])  # type: ignore[misc]


def read_windows(stream: Iterable[Doc], token_budget: int) -> Iterator[list[Doc]]:
    """Read Docs ahead.

    stream (Iterable[Doc]): The Docs.
    token_budget (int): A window is closed as soon as it holds this many tokens. An empty Doc
        counts as one, so that windows are bounded whatever is in the stream.
    YIELDS (List[Doc]): The windows, none of them empty.
    """
    window: list[Doc] = []
    n_tokens = 0
    for doc in stream:
        window.append(doc)
        n_tokens += max(len(doc), 1)
        if n_tokens >= token_budget:
            yield window
            window, n_tokens = [], 0
    if window:
        yield window


def predict_ahead(
    predict: Callable[[list[Doc]], Any],
    windows: Iterable[list[Doc]],
    token_budget: int,
    n_ahead: int,
) -> Iterator[Prediction]:
    """Predict windows in other threads while the next ones are read, in order.

    predict (Callable[[List[Doc]], Any]): Predicts one window.
    windows (Iterable[List[Doc]]): The windows.
    token_budget (int): What a full window holds. One that is not full is the last: it gets all
        threads, as there is nothing else to do.
    n_ahead (int): How many windows may be computed at the same time. 0 for none: each is computed
        when its prediction is asked for.
    YIELDS (Tuple[List[Doc], Callable[[], Any]]): Each window, and what returns its prediction.
    """
    pending: deque[Prediction] = deque()
    for window in windows:
        if n_ahead and sum(map(len, window)) >= token_budget:
            pending.append((window, start_task(partial(predict, window)).result))
        else:
            pending.append((window, partial(predict, window)))
        while len(pending) > n_ahead:
            yield pending.popleft()
    yield from pending


def _loading_failed(component: Any, source: str, err: Exception) -> str:
    return f"Can't load component {component.name!r} {source}: {err or type(err).__name__}"
