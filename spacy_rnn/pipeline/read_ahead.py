"""Read a stream of Docs in windows, and predict windows while the next ones are read."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from functools import partial
from itertools import accumulate
from typing import Any

from spacy.tokens import Doc
from thinc.api import Model

from ..layers.torch_shim import TorchShim
from ..modules.workers import start_task

# A window of Docs, and a function that returns its prediction or raises its error.
Prediction = tuple[list[Doc], Callable[[], Any]]


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
    return model.ops.device_type == "cpu" and all(isinstance(shim, TorchShim) for shim in shims)


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
