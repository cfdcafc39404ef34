"""Starts and stops the service, and reads its memory."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parent.parent
COMMANDS = {
    "uvicorn": ["uvicorn", "--factory", "service.app:create_app", "--no-access-log"],
    "gunicorn": ["gunicorn"],
    "gunicorn-preload": ["gunicorn", "--preload"],
}
START_SECONDS = 120


def make_command(server: str, n_workers: int, host: str, port: int) -> list[str]:
    """Make the command that serves.

    server (str): One of `COMMANDS`.
    n_workers (int): How many processes.
    host (str): The address to listen to.
    port (int): The port.
    RETURNS (List[str]): The command, to run in the project's directory.
    """
    where = ["--host", host, "--port", str(port)]
    if server != "uvicorn":
        where = ["--bind", f"{host}:{port}"]
    return [sys.executable, "-m", *COMMANDS[server], *where, "--workers", str(n_workers)]


class Server:
    """A running service.

    process (Popen): Its first process.
    url (str): Where it listens.
    """

    def __init__(self, process: subprocess.Popen, url: str):
        self.process = process
        self.url = url

    def wait_until_ready(self) -> None:
        """RAISES (RuntimeError): If it ends, or is not ready in time."""
        for _ in range(START_SECONDS * 20):
            if self.process.poll() is not None:
                raise RuntimeError(f"The service ended with status {self.process.returncode}.")
            try:
                with urllib.request.urlopen(f"{self.url}/ready", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise RuntimeError(f"The service is not ready after {START_SECONDS} seconds.")

    def get_memory(self) -> float | None:
        """RETURNS (Optional[float]): Megabytes of all its processes. What they share counts once.
        None if the system does not tell.
        """
        try:
            return sum(map(_read_memory, _get_processes(self.process.pid))) / 1024
        except OSError:
            return None

    def get_cpu_seconds(self) -> float | None:
        """RETURNS (Optional[float]): CPU time of all its processes. None if the system does not
        tell.
        """
        try:
            return sum(map(_read_cpu_seconds, _get_processes(self.process.pid)))
        except OSError:
            return None

    def get_batch_size(self) -> float | None:
        """RETURNS (Optional[float]): How many texts were computed together, on average. None if the
        service has stopped.
        """
        try:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as response:
                text = response.read().decode("utf8")
        except OSError:
            return None
        n_texts, n_batches = (
            float(re.findall(rf"^serve_batch_size_{name} (\S+)", text, re.MULTILINE)[0])
            for name in ("sum", "count")
        )
        return n_texts / max(n_batches, 1)

    def terminate(self) -> None:
        """Ask it to stop."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)


@contextmanager
def serve(pipeline: str, server: str, n_workers: int, log: Path) -> Iterator[Server]:
    """Start the service on a free port, and stop it at the end.

    pipeline (str): The pipeline.
    server (str): One of `COMMANDS`.
    n_workers (int): How many processes.
    log (Path): Where its messages go.
    YIELDS (Server): The service, when it is ready.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = make_command(server, n_workers, "127.0.0.1", port)
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "SERVE_PIPELINE": pipeline, "PYTHONPATH": path}
    with open(log, "w", encoding="utf8") as file:
        process = subprocess.Popen(
            command, env=environment, cwd=PROJECT, stdout=file, stderr=subprocess.STDOUT
        )
    running = Server(process, f"http://127.0.0.1:{port}")
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.terminate()
        process.wait(60)


def _get_processes(pid: int) -> list[int]:
    """RETURNS (List[int]): A process and all that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(p for child in children for p in _get_processes(int(child)))]


def _read_memory(pid: int) -> int:
    """RETURNS (int): The proportional set size in kilobytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


def _read_cpu_seconds(pid: int) -> float:
    """RETURNS (float): User and system time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
