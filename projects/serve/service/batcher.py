"""Gathers the texts of concurrent requests into batches, which one thread computes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from .analysis import Answer
from .metrics import Metrics
from .settings import Settings, set_threads

logger = logging.getLogger("uvicorn.error")

WARM_UP = "Lena Osei moved from Graz to Porto in 2019."


class Unavailable(Exception):
    """The service takes no texts: its queue is full, or it is stopping."""


class Job(NamedTuple):
    """A text that waits.

    text (str): The text.
    arrived (float): When it came, in the event loop's seconds.
    answer (Future[Answer]): What its request waits for.
    """

    text: str
    arrived: float
    answer: "asyncio.Future[Answer]"


class Batcher:
    """A bounded queue of texts, and the thread that computes them.

    analyse (Callable[[Sequence[str]], List[Answer]]): Computes a batch. It only runs in that
        thread.
    settings (Settings): Sizes of queue and batch, time to wait, number of threads.
    metrics (Metrics): Where to count.
    """

    def __init__(
        self,
        analyse: Callable[[Sequence[str]], list[Answer]],
        settings: Settings,
        metrics: Metrics,
    ):
        self.is_ready = False
        self._analyse = analyse
        self._settings = settings
        self._metrics = metrics
        self._n_texts = 0

    async def start(self) -> None:
        """Start the thread, and warm up: the first texts of a process take longer.

        RAISES (RuntimeError): If the pipeline fails on a plain text.
        """
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Job] = asyncio.Queue(self._settings.queue_size)
        # A thread that starts before a fork would be missing in the child.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nlp")
        if self._settings.threads is not None:
            await self._loop.run_in_executor(self._thread, set_threads, self._settings.threads)
        texts = [WARM_UP] * self._settings.batch_size
        answers = await self._loop.run_in_executor(self._thread, self._analyse, texts)
        if not all(answer.is_ok for answer in answers):
            raise RuntimeError(f"The pipeline fails on {WARM_UP!r}: see the error above.")
        self._task = asyncio.create_task(self._run())
        self.is_ready = True

    async def stop(self) -> None:
        """Take no more texts, compute those that wait, and end the thread."""
        self.is_ready = False
        await self._queue.join()
        self._task.cancel()
        self._thread.shutdown()
        logger.info("All texts are computed: %d since the start", self._n_texts)

    async def compute(self, texts: Sequence[str]) -> list[Answer]:
        """Compute texts, in batches shared by concurrent requests.

        texts (Sequence[str]): The texts.
        RETURNS (List[Answer]): An answer for each text.
        RAISES (Unavailable): If the queue has no room for all of them, or the service is stopping.
        """
        if not self.is_ready:
            raise Unavailable("The service is starting or stopping.")
        if self._queue.qsize() + len(texts) > self._settings.queue_size:
            raise Unavailable(f"The queue is full: {self._queue.qsize()} texts wait.")
        now = self._loop.time()
        jobs = [Job(text, now, self._loop.create_future()) for text in texts]
        for job in jobs:
            self._queue.put_nowait(job)
        self._metrics.queue_length.set(self._queue.qsize())
        return await asyncio.gather(*(job.answer for job in jobs))

    async def _run(self) -> None:
        while True:
            jobs = await self._gather()
            try:
                texts = [job.text for job in jobs]
                answers = await self._loop.run_in_executor(self._thread, self._analyse, texts)
            except Exception as err:
                logger.exception("A batch of %d texts failed", len(jobs))
                for job in jobs:
                    if not job.answer.done():
                        job.answer.set_exception(err)
            else:
                for job, answer in zip(jobs, answers, strict=True):
                    # A client that gave up has cancelled it.
                    if not job.answer.done():
                        job.answer.set_result(answer)
            self._n_texts += len(jobs)
            for _ in jobs:
                self._queue.task_done()

    async def _gather(self) -> list[Job]:
        """Wait for a text, and for others until it has waited `max_wait_ms`. Texts that came while
        a batch was computed have waited already.
        """
        jobs = [await self._queue.get()]
        self._take(jobs)
        seconds = jobs[0].arrived + self._settings.max_wait_ms / 1000 - self._loop.time()
        if len(jobs) < self._settings.batch_size and seconds > 0:
            await asyncio.sleep(seconds)
            self._take(jobs)
        self._metrics.batch_size.observe(len(jobs))
        self._metrics.queue_length.set(self._queue.qsize())
        return jobs

    def _take(self, jobs: list[Job]) -> None:
        while len(jobs) < self._settings.batch_size and not self._queue.empty():
            jobs.append(self._queue.get_nowait())
