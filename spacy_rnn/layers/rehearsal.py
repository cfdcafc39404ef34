"""What layers do otherwise in rehearsal."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_rehearsing: ContextVar[bool] = ContextVar("is_rehearsing", default=False)


@contextmanager
def rehearsal() -> Iterator[None]:
    """In it, layers read in training what they read in prediction, and learn from nothing but the
    gradient that comes back: all of a text is read, no word is hidden, none becomes a known one,
    and there is no language modelling. A model that has not changed is its own teacher then.
    """
    token = _is_rehearsing.set(True)
    try:
        yield
    finally:
        _is_rehearsing.reset(token)


def is_rehearsing() -> bool:
    """RETURNS (bool): Whether this is called in rehearsal."""
    return _is_rehearsing.get()
