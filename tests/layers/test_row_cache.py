import threading

import numpy
import pytest
import torch

from spacy_rnn.layers.row_cache import RowCache
from spacy_rnn.modules.cache import cached


class Computer:
    """Compute rows from keys, and remember which."""

    def __init__(self, scale=1.0):
        self.weight = torch.nn.Parameter(torch.tensor([scale, -scale]))
        self.computed = []

    def get_rows(self, cache, keys):
        def compute(which):
            self.computed.append([keys[i] for i in which])
            return self.expected([keys[i] for i in which])

        return cache.get_rows(keys, compute)

    def expected(self, keys):
        return numpy.array([[key] for key in keys], dtype="f") * self.weight.detach().numpy()


@pytest.fixture
def computer():
    return Computer()


def test_only_new_rows_are_computed(computer):
    cache = RowCache()
    for keys in ([3, 1, 3], [1, 3], [2, 1, 2, 4]):
        assert numpy.array_equal(computer.get_rows(cache, keys), computer.expected(keys))
    assert [sorted(set(keys)) for keys in computer.computed] == [[1, 3], [2, 4]]


def test_changed_parameters_forget_everything(computer):
    def get_rows():
        cache = cached(computer, "rows", [computer.weight], RowCache)
        assert numpy.array_equal(computer.get_rows(cache, [1, 2]), computer.expected([1, 2]))

    get_rows()
    with torch.no_grad():
        computer.weight *= 2
    get_rows()
    get_rows()
    assert len(computer.computed) == 2


def test_the_number_of_rows_is_bounded(computer):
    cache = RowCache(max_rows=5)
    for keys in ([1, 2, 3], [4, 5], [3, 6], [6, 4], list(range(10, 20)), [6]):
        assert numpy.array_equal(computer.get_rows(cache, keys), computer.expected(keys))
        assert cache._table.used <= 5
    # A full table is left behind, and what would not fit into an empty one is not kept.
    assert computer.computed == [[1, 2, 3], [4, 5], [6], [4], list(range(10, 20))]


def test_threads_get_the_right_rows(computer):
    cache = RowCache(max_rows=40)
    wrong = []

    def work(seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(200):
            keys = torch.randint(0, 60, (12,), generator=generator).tolist()
            if not numpy.array_equal(computer.get_rows(cache, keys), computer.expected(keys)):
                wrong.append(keys)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_lock_that_is_never_released_stops_nobody(computer):
    """As in a process that was forked while another thread was adding rows."""
    cache = RowCache()
    computer.get_rows(cache, [1])
    cache._adding.acquire()
    assert numpy.array_equal(computer.get_rows(cache, [1, 2]), computer.expected([1, 2]))
