"""Read a stream of Docs in windows, and predict some of them while the next are read."""

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

# A window of Docs, and a function that returns what is predicted for it, or raises what went wrong.
Prediction = tuple[list[Doc], Callable[[], Any]]


def read_windows(
    stream: Iterable[Doc], token_budget: int, n_ahead: int = 0, min_tokens: int = 1
) -> Iterator[list[Doc]]:
    """Read Docs ahead.

    stream (Iterable[Doc]): The Docs.
    token_budget (int): A window is closed as soon as it holds this many tokens. An empty Doc
        counts as one, so that windows are bounded whatever is in the stream.
    n_ahead (int): How many threads compute windows while the next ones are read. For them, the
        first windows are smaller, so that they soon have something to do, and the last is divided,
        so that they have something to do until the end. 0 for none.
    min_tokens (int): What the first window holds for threads, and each part of the last.
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
    """Divide Docs into parts with about as many tokens each.

    window (List[Doc]): The Docs.
    n_parts (int): How many parts to make. There are fewer if there are not enough Docs.
    RETURNS (List[List[Doc]]): The parts, none of them empty.
    """
    starts = list(accumulate(map(count_tokens, window), initial=0))
    parts: list[list[Doc]] = [[] for _ in range(n_parts)]
    for start, doc in zip(starts, window, strict=False):
        parts[start * n_parts // starts[-1]].append(doc)
    return [part for part in parts if part]


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
    n_ahead: int,
    min_tokens: int = 1,
) -> Iterator[Prediction]:
    """Predict windows in other threads while the next ones are read, in order.

    predict (Callable[[List[Doc]], Any]): Predicts one window.
    windows (Iterable[List[Doc]]): The windows.
    n_ahead (int): How many windows may be computed at the same time. 0 for none: each is computed
        when its prediction is asked for.
    min_tokens (int): What a window must hold to be worth a thread, as long as there was none that
        is. A smaller one is computed when it is asked for, on all of torch's threads.
    YIELDS (Tuple[List[Doc], Callable[[], Any]]): Each window, and what returns its prediction. If
        the windows end with an exception, it is raised after those that were read.
    """
    pending: deque[Prediction] = deque()
    started: deque[Future] = deque()
    in_threads = False
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
            if n_ahead and sum(map(count_tokens, window)) >= min_tokens:
                in_threads = True
            if in_threads:
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
