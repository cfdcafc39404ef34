"""Cached rows of a network's output."""

import threading
from collections.abc import Callable
from itertools import repeat
from mmap import mmap
from typing import Any

import numpy
from thinc.api import get_array_module

# The words of a long text. With the default embedding's width of 376, 30 MB.
MAX_ROWS = 20_000


class RowCache:
    """Rows by their keys. Get one with `cached(...)`, which invalidates it with the weights.

    Threads may share it. They read without waiting. Of several that want to add rows at the same
    time only one does, so that no thread waits for a lock, not even for one that a forked process
    inherited.

    max_rows (int): With no room for new rows, the old ones are dropped.
    """

    def __init__(self, max_rows: int = MAX_ROWS):
        self._max_rows = max_rows
        self._adding = threading.Lock()
        self._table = _Table(max_rows)

    def get_rows(self, keys: list[int], compute: Callable[[list[int]], Any]) -> Any:
        """Get rows, computing those that are missing.

        keys (List[int]): The keys; may repeat.
        compute (Callable[[List[int]], Floats2d]): Computes rows, from positions in `keys`.
        RETURNS (Floats2d): A row for each key. (len(keys), width)
        """
        table = self._table
        places = list(map(table.places.get, keys, repeat(-1)))
        if -1 not in places:
            return table.get_rows(places)
        missing = [i for i, place in enumerate(places) if place == -1]
        rows = new = compute(missing)
        if len(missing) < len(keys):
            rows = table.get_rows([max(place, 0) for place in places])
            rows[get_array_module(rows).asarray(missing)] = new
        self._add({keys[i]: row for row, i in enumerate(missing)}, new)
        return rows

    def _add(self, rows_of_keys: dict[int, int], rows: Any) -> None:
        n_new = len(rows_of_keys)
        if n_new > self._max_rows or not self._adding.acquire(blocking=False):
            return
        try:
            if self._table.used + n_new > self._max_rows:
                self._table = _Table(self._max_rows)
            self._table.add(rows_of_keys, rows)
        finally:
            self._adding.release()


class _Table:
    """Rows that are written once, before they can be found."""

    def __init__(self, max_rows: int):
        self.places: dict[int, int] = {}
        # Threads may add a key twice, so that there are more rows than keys.
        self.used = 0
        self._max_rows = max_rows
        self._rows: Any = None

    def get_rows(self, places: list[int]) -> Any:
        return self._rows.take(get_array_module(self._rows).asarray(places), axis=0)

    def add(self, rows_of_keys: dict[int, int], rows: Any) -> None:
        end = self.used + len(rows_of_keys)
        xp = get_array_module(rows)
        if self._rows is None:
            self._rows = _allocate(xp, (self._max_rows, rows.shape[1]))
        self._rows[self.used : end] = rows[xp.asarray(list(rows_of_keys.values()))]
        self.places.update(zip(rows_of_keys, range(self.used, end), strict=True))
        self.used = end


def _allocate(xp: Any, shape: tuple[int, int]) -> Any:
    """RETURNS (Floats2d): Room for rows. For numpy it is mapped memory: with ever new words, tables
    are dropped again and again, and blocks of their size would fragment the heap.
    """
    if xp is not numpy:
        return xp.empty(shape, dtype="f")
    n_bytes = max(4 * shape[0] * shape[1], 1)
    return numpy.frombuffer(mmap(-1, n_bytes), dtype="f", count=shape[0] * shape[1]).reshape(shape)
