"""A pool of threads for work that runs better as several one-threaded tasks than as one task
on several threads: recurrent kernels on a CPU, whose time steps are too short to be divided.

Torch's own threads wait for each other by spinning, at the end of every operation. Where another
process has one of the cores, each such wait takes a slice of its time, and a step of training has
hundreds of them. So our layers keep torch on one thread, and what is worth dividing goes to this
pool, whose threads sleep while they wait.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from ..checks import check_count
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
# Whether this thread belongs to a pool.
_worker = threading.local()
_is_forked = False
# What `set_num_threads` was called with.
_n_threads: int | None = None


def set_num_threads(n: int) -> None:
    """Set how many threads our components compute on, in this process. Without this call it is the
    environment variable SPACY_RNN_NUM_THREADS or else as many as the process has CPUs, by its
    affinity and the quota of its container, but no more than torch's own number of threads or
    OMP_NUM_THREADS. In a process that was forked, or started by Python's multiprocessing, it is
    one.

    n (int): The number of threads, at least 1.
    """
    global _n_threads
    check_count("n", n, 1)
    _n_threads = n


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run torch's operations on the calling thread alone. Other threads keep their number of
    threads, and this one gets its own back. Only a thread that uses torch for the first time in
    its life meanwhile starts with one, as torch has no other way to set it.
    """
    import torch

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
    """Count the threads that work of the calling thread may be divided among: see
    `set_num_threads`. Workers divide nothing.

    RETURNS (int): The number of threads, at least 1.
    """
    if getattr(_worker, "is_worker", False):
        return 1
    if _n_threads is not None:
        return _n_threads
    if _is_forked or multiprocessing.parent_process() is not None:
        # Its siblings have the other CPUs.
        return 1
    wanted = os.environ.get("SPACY_RNN_NUM_THREADS")
    if wanted:
        return _read_number("SPACY_RNN_NUM_THREADS", wanted)
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        limit = getattr(_outside, "n_threads", None) or torch.get_num_threads()
    else:
        limit = _read_number("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "").split(",")[0])
    return 1 if limit == 1 else min(limit, count_cpus())


def _read_number(name: str, value: str) -> int:
    if not value:
        return count_cpus()
    if not value.strip().isdecimal() or not int(value):
        raise ValueError(f"Environment variable {name} = {value!r} must be a number, at least 1.")
    return int(value)


def count_parts(n_tokens: int, n_weights: int) -> int:
    """RETURNS (int): Into how many parts to divide so many tokens, with so many multiplications
    each.
    """
    n_threads = count_threads()
    if n_threads == 1 or n_tokens * n_weights < MIN_WORK:
        return 1
    return n_threads * PARTS_PER_THREAD


def run_tasks(tasks: Sequence[Callable[[], T]], *, in_threads: bool = True) -> list[T]:
    """Run tasks side by side, each on one thread.

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
    """Start a task on one thread, and go on.

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
    torch: Any = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else 1

    def start() -> None:
        _worker.is_worker = True
        if torch is not None:
            # A thread takes over the number that was set last when torch first asks it for its own.
            torch.get_num_threads()
            torch.set_num_threads(1)
        started.wait()

    for _ in range(n_threads):
        pool.submit(start)
    started.wait()
    if torch is not None:
        # That number is now one: later threads shall find what was there before.
        torch.set_num_threads(before)
    return pool


def settle_after_fork() -> None:
    """Keep torch on one thread where the process was forked: the threads it knows of did not come
    along, and it would wait for them forever. Does nothing in other processes, and nothing in a
    child that never runs our layers.
    """
    torch: Any = sys.modules.get("torch")
    if _is_forked and torch is not None and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def _after_fork_in_child() -> None:
    global _pools_lock, _is_forked, _n_threads
    _pools_lock = threading.Lock()
    _pools.clear()
    _is_forked, _n_threads = True, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
