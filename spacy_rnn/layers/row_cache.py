"""Cached rows of a module's output."""

import threading
from collections.abc import Callable
from itertools import repeat

import torch

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

    def get_rows(
        self, keys: list[int], compute: Callable[[list[int]], torch.Tensor]
    ) -> torch.Tensor:
        """Get rows, computing those that are missing.

        keys (List[int]): The keys; may repeat.
        compute (Callable[[List[int]], Tensor]): Computes rows, from positions in `keys`.
        RETURNS (Tensor): A row for each key. (len(keys), width)
        """
        table = self._table
        places = list(map(table.places.get, keys, repeat(-1)))
        if -1 not in places:
            return table.get_rows(places)
        missing = [i for i, place in enumerate(places) if place == -1]
        rows = new = compute(missing)
        if len(missing) < len(keys):
            rows = table.get_rows([max(place, 0) for place in places])
            with torch.inference_mode():
                rows[torch.tensor(missing, device=rows.device)] = new
        self._add({keys[i]: row for row, i in enumerate(missing)}, new)
        return rows

    def _add(self, rows_of_keys: dict[int, int], rows: torch.Tensor) -> None:
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
        self._rows: torch.Tensor | None = None

    def get_rows(self, places: list[int]) -> torch.Tensor:
        assert self._rows is not None
        with torch.inference_mode():
            return self._rows.index_select(0, torch.tensor(places, device=self._rows.device))

    def add(self, rows_of_keys: dict[int, int], rows: torch.Tensor) -> None:
        end = self.used + len(rows_of_keys)
        with torch.inference_mode():
            if self._rows is None:
                self._rows = rows.new_empty(self._max_rows, rows.shape[1])
            index = torch.tensor(list(rows_of_keys.values()), device=rows.device)
            self._rows[self.used : end] = rows.index_select(0, index)
        self.places.update(zip(rows_of_keys, range(self.used, end), strict=True))
        self.used = end
