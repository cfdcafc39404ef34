"""Settings of gunicorn: `gunicorn --workers 2`, with `--preload` or without."""

import os
import tempfile

# Workers count in files of this directory. It has to be set before prometheus_client is imported.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="serve-metrics-"))

wsgi_app = "service.app:create_app()"
worker_class = "uvicorn_worker.UvicornWorker"
bind = "127.0.0.1:8000"
# Seconds. Longer than a load balancer keeps its connections, so that it closes them first.
keepalive = 75


def child_exit(server, worker):
    """Forget the gauges of a worker that has ended."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)
