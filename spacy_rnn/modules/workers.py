"""A pool of threads for work that runs better as several one-threaded tasks than as one task
on several threads: recurrent kernels on a CPU, whose time steps are too short to be divided.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")

_pools: dict[int, ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()


def run_tasks(tasks: Sequence[Callable[[], T]], *, in_threads: bool = True) -> list[T]:
    """Run tasks side by side, each on one thread of torch's. Gradients are not recorded.

    tasks (Sequence[Callable[[], T]]): What to run. The dearest should come first.
    in_threads (bool): Whether they are worth waking threads for. If not, they run one by one.
    RETURNS (List[T]): What the tasks returned, in their order.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1 or len(tasks) == 1 or not in_threads:
        return [_run_inference(task) for task in tasks]
    pool = _get_pool(n_threads)
    return list(pool.map(_run_inference, tasks))


def count_workers() -> int:
    """RETURNS (int): How many threads run tasks beside this one: none where torch has only one
    thread, as in the tasks themselves.
    """
    n_threads = torch.get_num_threads()
    return n_threads if n_threads > 1 else 0


def start_task(task: Callable[[], T]) -> "Future[T]":
    """Start a task on one thread of torch's, and go on. Gradients are not recorded.

    task (Callable[[], T]): What to run.
    RETURNS (Future[T]): What it will return.
    """
    return _get_pool(torch.get_num_threads()).submit(_run_inference, task)


def _run_inference(task: Callable[[], T]) -> T:
    # Inference mode belongs to a thread, so each task has to ask for it.
    with torch.inference_mode():
        return task()


def _get_pool(n_threads: int) -> ThreadPoolExecutor:
    with _pools_lock:
        if n_threads not in _pools:
            _pools[n_threads] = _start_pool(n_threads)
        return _pools[n_threads]


def _start_pool(n_threads: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="spacy-rnn")
    started = threading.Barrier(n_threads + 1)

    def start() -> None:
        # A thread takes over the number that was set last when torch first asks it for its own.
        torch.get_num_threads()
        torch.set_num_threads(1)
        started.wait()

    for _ in range(n_threads):
        pool.submit(start)
    started.wait()
    # That number is now one: later threads shall find what was there before.
    torch.set_num_threads(n_threads)
    return pool


def _after_fork_in_child() -> None:
    # Threads do not survive a fork, neither ours nor those of torch's own pool, which would be
    # waited for until the end of time.
    global _pools_lock
    _pools_lock = threading.Lock()
    _pools.clear()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
