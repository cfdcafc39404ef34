import multiprocessing
import threading

import pytest
import torch

from spacy_rnn import set_num_threads
from spacy_rnn.modules import workers
from spacy_rnn.modules.workers import count_threads, run_tasks, settle_after_fork


def test_tasks_run_on_one_thread_each():

    before = torch.get_num_threads()
    results = run_tasks([torch.get_num_threads] * 8)
    assert results == [1] * 8
    assert torch.get_num_threads() == before


def test_threads_started_later_keep_the_number_of_threads():
    run_tasks([lambda: None] * 4)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [torch.get_num_threads()]


def test_results_keep_the_order_of_tasks_and_errors_surface():
    assert run_tasks([lambda i=i: i for i in range(20)]) == list(range(20))
    with pytest.raises(ZeroDivisionError):
        run_tasks([lambda: 1 / 0, lambda: 1])


def _run_in_child(queue):
    settle_after_fork()
    X = torch.randn(300, 300)
    queue.put((torch.get_num_threads(), float((X @ X).sum()) == 0.0, run_tasks([lambda: 1] * 3)))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_forked_child_does_not_wait_for_threads_it_does_not_have():
    X = torch.randn(500, 500)
    (X @ X).sum()
    run_tasks([lambda: X @ X] * 4)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_run_in_child, args=(queue,))
    child.start()
    n_threads, _, results = queue.get(timeout=60)
    child.join(timeout=60)
    assert n_threads == 1
    assert results == [1, 1, 1]


@pytest.fixture
def own_settings(monkeypatch):
    """The settings of a process with four CPUs that set nothing."""
    for name in ("SPACY_RNN_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(workers, "_n_threads", None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)


def test_the_number_of_threads_is_set_by_call_environment_or_torch(own_settings, monkeypatch):
    assert count_threads() == 4
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert count_threads() == 2
    monkeypatch.setenv("SPACY_RNN_NUM_THREADS", "3")
    assert count_threads() == 3
    set_num_threads(6)
    assert count_threads() == 6


def test_without_torch_openmp_sets_an_upper_limit(own_settings, monkeypatch):
    monkeypatch.setitem(workers.sys.modules, "torch", None)
    assert count_threads() == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")
    assert count_threads() == 2


@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_wrong_numbers_of_threads_are_refused(own_settings, monkeypatch, value):
    monkeypatch.setenv("SPACY_RNN_NUM_THREADS", value)
    with pytest.raises(ValueError, match="SPACY_RNN_NUM_THREADS"):
        count_threads()
    with pytest.raises(ValueError, match="0"):
        set_num_threads(0)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_have_one_thread(own_settings, monkeypatch, method):
    monkeypatch.setenv("SPACY_RNN_NUM_THREADS", "3")
    set_num_threads(3)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(count_threads) == 1
