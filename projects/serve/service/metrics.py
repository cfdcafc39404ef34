"""Prometheus metrics, and the middleware that counts requests."""

import os
from time import perf_counter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
# Other paths share one label: clients choose them, and each label takes memory.
PATHS = ("/analyse", "/analyse_batch", "/health", "/ready", "/metrics")


class Metrics:
    """The service's metrics. With several workers, set PROMETHEUS_MULTIPROC_DIR to a directory:
    each worker then shows the sums over all of them.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "serve_requests", "Requests by path and status", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "serve_request_seconds",
            "Time from request to response",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "serve_batch_size", "Texts in a batch", buckets=TEXTS, registry=registry
        )
        self.queue_length = Gauge(
            "serve_queue_length", "Texts that wait", multiprocess_mode="livesum", registry=registry
        )
        ProcessCollector(registry=registry)

    def render(self) -> bytes:
        """RETURNS (bytes): The metrics in Prometheus' text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)


class CountRequests:
    """Counts requests by path and status, and measures their time.

    app (ASGIApp): The application.
    metrics (Metrics): Where to count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in PATHS else "other"
        # Where there is no response, the client went away: nginx's status.
        status = 499
        start = perf_counter()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception:
            status = 500
            raise
        finally:
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(perf_counter() - start)
