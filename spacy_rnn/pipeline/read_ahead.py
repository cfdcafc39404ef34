"""Read a stream of Docs in windows, and predict windows while the next ones are read."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from functools import partial
from itertools import accumulate
from typing import Any

from spacy.tokens import Doc
from spacy.util import minibatch
from thinc.api import Model

from ..layers.param_shim import ParamShim
from ..layers.torch_shim import TorchShim
from ..modules.workers import count_threads, start_task

# A window of Docs, and a function that returns its prediction or raises its error.
Prediction = tuple[list[Doc], Callable[[], Any]]


# Tokens in a window that is read ahead. A larger one has more sentences of similar length, but
# needs more memory.
TOKEN_BUDGET = 8_000

# The fewest tokens that are worth a thread.
MIN_TOKENS = 1_000

# With up to this many threads, each computes its own window. With more, all share one, to bound
# memory.
MAX_AHEAD = 4


class ReadsAhead:
    """Give a component wide windows in `pipe`, whatever the batch size. Goes before spaCy's class
    in the list of bases.

    predicts_ahead (bool): Whether other threads may compute windows while the next ones are read.
        That needs memory for several windows, and a change of the component during a stream takes
        effect some windows later.
    max_window (Optional[int]): The most tokens in each of those windows, for a component whose
        predictions need much memory.
    """

    predicts_ahead = True
    max_window: int | None = None

    name: str
    model: Any

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
        component: Any = self
        error_handler, predict = component.get_error_handler(), component.predict
        for window, get_prediction in self._predict_windows(stream, batch_size):
            try:
                component.set_annotations(window, get_prediction())
            except Exception as err:
                if len(window) <= batch_size:
                    error_handler(self.name, self, window, err)
                    continue
                for docs in minibatch(window, batch_size):
                    try:
                        component.set_annotations(docs, predict(docs))
                    except Exception as batch_err:
                        error_handler(self.name, self, docs, batch_err)
                    else:
                        yield from docs
            else:
                yield from window

    def _predict_windows(self, stream: Iterable[Doc], batch_size: int) -> Iterator[Prediction]:
        predict = self.predict  # type: ignore[attr-defined]
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


def read_windows(
    stream: Iterable[Doc], token_budget: int, n_ahead: int = 0, min_tokens: int = 1
) -> Iterator[list[Doc]]:
    """Divide a stream into windows.

    stream (Iterable[Doc]): The Docs.
    token_budget (int): The size of a window in tokens. It ends with the Doc that reaches it.
    n_ahead (int): How many threads compute windows while the next ones are read. To keep them busy
        from the beginning to the end, the first windows are smaller and the last is divided.
    min_tokens (int): The size of the first window for threads, and the least of each part of the
        last.
    YIELDS (List[Doc]): The windows, none of them empty.
    """
    window: list[Doc] = []
    n_tokens = 0
    budget = min(min_tokens, token_budget) if n_ahead else token_budget
    for doc in stream:
        window.append(doc)
        n_tokens += count_tokens(doc)
        if n_tokens >= budget:
            yield window
            window, n_tokens = [], 0
            budget = min(2 * budget, token_budget)
    if window:
        yield from divide_window(window, max(min(n_ahead, n_tokens // min_tokens), 1))


def divide_window(window: list[Doc], n_parts: int) -> list[list[Doc]]:
    """RETURNS (List[List[Doc]]): A window in parts with about as many tokens each, none of them
    empty.
    """
    starts = list(accumulate(map(count_tokens, window), initial=0))
    parts: list[list[Doc]] = [[] for _ in range(n_parts)]
    for start, doc in zip(starts, window, strict=False):
        parts[start * n_parts // starts[-1]].append(doc)
    return [part for part in parts if part]


def count_tokens(doc: Doc) -> int:
    """RETURNS (int): A Doc's tokens, at least 1, so that a window of empty Docs is bounded too."""
    return max(len(doc), 1)


def may_share(model: Model) -> bool:
    """RETURNS (bool): Whether threads may predict with a model at the same time: it is on a CPU and
    no module is switched between training and prediction, as those in Thinc's shim are.
    """
    shims = [shim for node in model.walk() for shim in node.shims]
    are_ours = all(isinstance(shim, TorchShim | ParamShim) for shim in shims)
    return model.ops.device_type == "cpu" and are_ours


def predict_ahead(
    predict: Callable[[list[Doc]], Any],
    windows: Iterable[list[Doc]],
    n_ahead: int,
    min_tokens: int = 1,
) -> Iterator[Prediction]:
    """Predict windows in other threads while the next ones are read, in order.

    predict (Callable[[List[Doc]], Any]): Predicts one window.
    windows (Iterable[List[Doc]]): The windows.
    n_ahead (int): How many windows may be computed at the same time. With 0, each is computed when
        its prediction is asked for.
    min_tokens (int): The size of a window that is worth a thread. Until there is one, windows are
        computed when they are asked for, on all of torch's threads.
    YIELDS (Tuple[List[Doc], Callable[[], Any]]): Each window, and a function that returns its
        prediction. An exception of `windows` is raised after those that were read.
    """
    pending: deque[Prediction] = deque()
    started: deque[Future] = deque()
    in_threads = False
    failure: Exception | None = None
    process = os.getpid()
    try:
        try:
            for window in windows:
                task: Callable[[], Any] = partial(predict, window)
                in_threads |= n_ahead > 0 and sum(map(count_tokens, window)) >= min_tokens
                if in_threads:
                    started.append(start_task(task))
                    task = started[-1].result
                pending.append((window, task))
                while len(pending) > n_ahead:
                    yield pending.popleft()
                while len(started) > n_ahead and started[0].done():
                    started.popleft()
        except Exception as err:
            failure = err
        yield from pending
    finally:
        # If the consumer stops, no thread may go on with Docs that are about to be freed. In a
        # forked process there is no thread to wait for.
        for future in started if os.getpid() == process else ():
            future.cancel()
            wait([future])
    if failure is not None:
        raise failure
