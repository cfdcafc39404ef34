"""Reading ahead in a stream of Docs, and computing while reading."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from spacy.tokens import Doc

T = TypeVar("T")


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


def compute_ahead(
    function: Callable[[T], Any], items: Iterable[T]
) -> Iterator[tuple[T, Callable[[], Any]]]:
    """Compute a function of each item in a thread, while the next item is being read: what makes
    the items, such as a tokenizer, is Python's, and leaves the other cores idle otherwise.

    function (Callable[[T], Any]): What to compute.
    items (Iterable[T]): The items. One is read ahead.
    YIELDS (Tuple[T, Callable[[], Any]]): Each item, and what waits for its result and returns it
        or raises its error.
    """
    # Leaving the block waits for the thread, also when the consumer leaves early.
    with ThreadPoolExecutor(1, thread_name_prefix="spacy-rnn-lookahead") as executor:
        pending: list[tuple[T, Callable[[], Any]]] = []
        try:
            for item in items:
                pending.append((item, executor.submit(function, item).result))
                if len(pending) > 1:
                    yield pending.pop(0)
        except Exception:
            # What was read before the stream broke off is not lost.
            yield from pending
            raise
        yield from pending
