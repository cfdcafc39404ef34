"""Rows of output that are kept from one batch to the next."""

import threading
from collections.abc import Callable, Iterable
from itertools import repeat

import torch

from ..modules.cache import Version, get_version

# As many as a long text has; with the 376 numbers of the default embedding, 30 MB.
MAX_ROWS = 20_000

Versions = tuple[Version, ...]


class RowCache:
    """Keep rows of a module's output as long as its parameters and buffers stay as they are.

    Threads may share it. They read without waiting, and of several that have something to add at
    the same moment only one does, so that no lock is ever waited for, not even one that a
    forked process inherited.

    tensors (Iterable[Tensor]): The module's parameters and buffers.
    max_rows (int): When it has no room for new rows, it forgets the old ones.
    """

    def __init__(self, tensors: Iterable[torch.Tensor], max_rows: int = MAX_ROWS):
        self._tensors = list(tensors)
        self._max_rows = max_rows
        self._adding = threading.Lock()
        self._table = _Table(self._get_versions(), max_rows)

    def get_rows(
        self, keys: list[int], compute: Callable[[list[int]], torch.Tensor]
    ) -> torch.Tensor:
        """Get rows that were computed before, and compute the others.

        keys (List[int]): What to get; may repeat.
        compute (Callable[[List[int]], Tensor]): Computes rows, from positions in `keys`.
        RETURNS (Tensor): A row for each key. (len(keys), width)
        """
        versions, table = self._get_versions(), self._table
        if table.versions != versions:
            table = self._table = _Table(versions, self._max_rows)
        places = list(map(table.places.get, keys, repeat(-1)))
        if -1 not in places:
            return table.get_rows(places)
        missing = [i for i, place in enumerate(places) if place == -1]
        new = compute(missing)
        rows = new
        if len(missing) < len(keys):
            rows = table.get_rows([max(place, 0) for place in places])
            with torch.inference_mode():
                rows[torch.tensor(missing, device=rows.device)] = new
        self._add(table, {keys[i]: row for row, i in enumerate(missing)}, new)
        return rows

    def _add(self, table: "_Table", rows_of_keys: dict[int, int], rows: torch.Tensor) -> None:
        n_new = len(rows_of_keys)
        if n_new > self._max_rows or not self._adding.acquire(blocking=False):
            return
        try:
            if table.used + n_new > self._max_rows:
                table = self._table = _Table(table.versions, self._max_rows)
            table.add(rows_of_keys, rows)
        finally:
            self._adding.release()

    def _get_versions(self) -> Versions:
        return tuple(map(get_version, self._tensors))


class _Table:
    """Rows that are written once, and found once they are written."""

    def __init__(self, versions: Versions, max_rows: int):
        self.versions = versions
        self.places: dict[int, int] = {}
        # Threads may add a key twice: there can be more rows than keys.
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
