"""What all our components have in common, on top of the spaCy class each of them is."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from typing import Any

from spacy.tokens import Doc
from spacy.util import minibatch
from thinc.api import Model

from ..layers.torch_shim import TorchShim
from ..modules.workers import count_workers, start_task

# Tokens that a component reads ahead, so that sentences of similar length can be computed
# together: more fills the encoder's buckets better, but costs memory.
TOKEN_BUDGET = 8_000

# On so many threads of torch's each computes a window of its own; more share one, as they would
# keep too many windows in memory.
MAX_AHEAD = 4

# A window of Docs, and a function that returns what is predicted for it, or raises what went wrong.
Prediction = tuple[list[Doc], Callable[[], Any]]


class RNNPipeMixin:
    """Give a trainable component wide windows in `pipe`, whatever the batch size, and errors
    that name the file when loading fails. Goes before spaCy's class in the list of bases.

    predicts_ahead (bool): Whether windows may be computed in other threads while the next ones are
        read. That keeps some of them in memory at once, with what is predicted for them, and a
        component that is changed while it streams would see the change some windows later.
    """

    predicts_ahead = True

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Apply the component to a stream of Docs, in order.

        Docs are read ahead until there are `TOKEN_BUDGET` tokens, so that the model can compute
        sentences of similar length together, and at most one Doc beyond that. On a CPU with up to
        `MAX_AHEAD` threads, the next windows are read while the model computes, one on each
        thread, unless it has layers of others that threads may not share. With `batch_size=1`
        nothing is read ahead, for streams that arrive slowly.

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
        model = self.model  # type: ignore[attr-defined]
        budget = 1 if batch_size == 1 else TOKEN_BUDGET
        n_ahead = count_workers()
        if (
            not self.predicts_ahead
            or batch_size == 1
            or n_ahead > MAX_AHEAD
            or not may_share(model)
        ):
            n_ahead = 0
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
        n_tokens += count_tokens(doc)
        if n_tokens >= token_budget:
            yield window
            window, n_tokens = [], 0
    if window:
        yield window


def count_tokens(doc: Doc) -> int:
    """RETURNS (int): What a Doc counts in a window."""
    return max(len(doc), 1)


def may_share(model: Model) -> bool:
    """RETURNS (bool): Whether threads may predict with a model at the same time: it is on a CPU and
    has no modules that are switched between training and prediction, as those in Thinc's shim.
    """
    shims = [shim for node in model.walk() for shim in node.shims]
    return model.ops.device_type == "cpu" and all(isinstance(shim, TorchShim) for shim in shims)


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
    YIELDS (Tuple[List[Doc], Callable[[], Any]]): Each window, and what returns its prediction. If
        the windows end with an exception, it is raised after those that were read.
    """
    pending: deque[Prediction] = deque()
    started: deque[Future] = deque()
    failure: Exception | None = None
    stream, process = iter(windows), os.getpid()
    try:
        while True:
            try:
                window = next(stream)
            except StopIteration:
                break
            except Exception as err:
                failure = err
                break
            task = partial(predict, window)
            if n_ahead and sum(map(count_tokens, window)) >= token_budget:
                started.append(start_task(task))
                pending.append((window, started[-1].result))
            else:
                pending.append((window, task))
            while len(pending) > n_ahead:
                yield pending.popleft()
            while len(started) > n_ahead and started[0].done():
                started.popleft()
        yield from pending
    finally:
        # Where the rest is not wanted, nothing may go on with Docs that are about to be freed. In a
        # forked process there is nobody to wait for.
        for future in started if os.getpid() == process else ():
            future.cancel()
            wait([future])
    if failure is not None:
        raise failure


def _loading_failed(component: Any, source: str, err: Exception) -> str:
    return f"Can't load component {component.name!r} {source}: {err or type(err).__name__}"
