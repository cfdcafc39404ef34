"""A pool of threads for work that runs better as several one-threaded tasks than as one task
on several threads: recurrent kernels on a CPU, whose time steps are too short to be divided.

Torch's own threads wait for each other by spinning, at the end of every operation. Where another
process has one of the cores, each such wait takes a slice of its time, and a step of training has
hundreds of them. So our layers keep torch on one thread, and what is worth dividing goes to this
pool, whose threads sleep while they wait.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from .cpus import count_cpus

T = TypeVar("T")

# To wake a thread takes as long as this many multiplications and additions.
MIN_WORK = 30_000_000
# More parts than threads, so that none waits long for another.
PARTS_PER_THREAD = 2

_pools: dict[int, ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()
# The number of torch's threads outside `one_torch_thread`, for a thread that is in it.
_outside = threading.local()
_is_forked = False


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run torch's operations on the calling thread alone. Other threads keep their number of
    threads, and this one gets its own back. Only a thread that uses torch for the first time in
    its life meanwhile starts with one, as torch has no other way to set it.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        yield
        return
    _outside.n_threads = n_threads
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
        _outside.n_threads = None


def count_threads() -> int:
    """Count the threads that work of the calling thread may be divided among: as many as torch's,
    but no more than there are CPUs for this process. Workers divide nothing, and neither do
    processes that were forked: their siblings have the other CPUs.

    RETURNS (int): The number of threads, at least 1.
    """
    n_threads = getattr(_outside, "n_threads", None) or torch.get_num_threads()
    return 1 if _is_forked or n_threads == 1 else min(n_threads, count_cpus())


def count_parts(n_tokens: int, n_weights: int) -> int:
    """RETURNS (int): Into how many parts to divide so many tokens, with so many multiplications
    each.
    """
    n_threads = count_threads()
    if n_threads == 1 or n_tokens * n_weights < MIN_WORK:
        return 1
    return n_threads * PARTS_PER_THREAD


def run_tasks(tasks: Sequence[Callable[[], T]], *, in_threads: bool = True) -> list[T]:
    """Run tasks side by side, each on one thread of torch's.

    tasks (Sequence[Callable[[], T]]): What to run. The dearest should come first.
    in_threads (bool): Whether they are worth waking threads for. If not, they run one by one.
    RETURNS (List[T]): What the tasks returned, in their order.
    """
    n_threads = count_threads()
    if n_threads == 1 or len(tasks) == 1 or not in_threads:
        return [task() for task in tasks]
    pool = _get_pool(n_threads)
    return [future.result() for future in [pool.submit(task) for task in tasks]]


def start_task(task: Callable[[], T]) -> "Future[T]":
    """Start a task on one thread of torch's, and go on.

    task (Callable[[], T]): What to run.
    RETURNS (Future[T]): What it will return.
    """
    return _get_pool(count_threads()).submit(task)


def _get_pool(n_threads: int) -> ThreadPoolExecutor:
    with _pools_lock:
        if n_threads not in _pools:
            _pools[n_threads] = _start_pool(n_threads)
        return _pools[n_threads]


def _start_pool(n_threads: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="spacy-rnn")
    started = threading.Barrier(n_threads + 1)
    before = torch.get_num_threads()

    def start() -> None:
        # A thread takes over the number that was set last when torch first asks it for its own.
        torch.get_num_threads()
        torch.set_num_threads(1)
        started.wait()

    for _ in range(n_threads):
        pool.submit(start)
    started.wait()
    # That number is now one: later threads shall find what was there before.
    torch.set_num_threads(before)
    return pool


def settle_after_fork() -> None:
    """Keep torch on one thread where the process was forked: the threads it knows of did not come
    along, and it would wait for them forever. Does nothing in other processes, and nothing in a
    child that never runs our layers.
    """
    if _is_forked and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def _after_fork_in_child() -> None:
    global _pools_lock, _is_forked
    _pools_lock = threading.Lock()
    _pools.clear()
    _is_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
