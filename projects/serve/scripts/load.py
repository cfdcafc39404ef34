"""Put the service under load, and check every answer against what the pipeline gives offline."""

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Annotated, Any

import spacy
import srsly
import typer
from client import Result, send_all
from samples import make_requests, make_texts
from server import COMMANDS, PROJECT, Server, serve
from wasabi import msg

sys.path.insert(0, str(PROJECT))
from service.analysis import to_dict

# Texts that differ. With more requests they repeat, so that the client's memory is bounded.
MAX_TEXTS = 20_000

app = typer.Typer(add_completion=False)


@app.command()
def load_cli(
    pipelines: Annotated[list[str], typer.Argument(help="Pipelines to serve, one after the other")],
    requests: Annotated[int, typer.Option(min=1, help="How many requests")] = 2000,
    connections: Annotated[int, typer.Option(min=1, help="Connections open at a time")] = 16,
    bad: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of bad requests")] = 0.1,
    server: Annotated[str, typer.Option(help=f"One of {', '.join(COMMANDS)}")] = "uvicorn",
    workers: Annotated[int, typer.Option(min=1, help="Processes of the service")] = 1,
    stop_after: Annotated[
        int, typer.Option(min=0, help="Send SIGTERM after so many requests. 0: never")
    ] = 0,
    output: Annotated[Path, typer.Option(help="JSON with the figures")] = Path("metrics/load.json"),
) -> None:
    """Start the service over each pipeline, send requests and stop it. Exits with status 1 if an
    answer is wrong, a status unexpected or a request lost."""
    output.parent.mkdir(parents=True, exist_ok=True)
    reports = []
    for pipeline in pipelines:
        path = str(Path(pipeline).resolve()) if Path(pipeline).exists() else pipeline
        expected = analyse_offline(path, make_texts(min(requests, MAX_TEXTS)))
        log = output.with_suffix(".log")
        with serve(path, server, workers, log) as running:
            samples = make_requests(*expected, requests, bad)
            report = measure(running, samples, requests, connections, stop_after)
        report["n_computed"] = count_computed(log)
        reports.append({"pipeline": pipeline, "server": server, "workers": workers, **report})
        srsly.write_json(output, reports)
    print_reports(reports)
    if not all(map(is_good, reports)):
        msg.fail(f"See {output} and {output.with_suffix('.log')}", exits=1)


def analyse_offline(pipeline: str, texts: list[str]) -> tuple[list[str], list[dict[str, Any]]]:
    """RETURNS (Tuple[List[str], List[Dict[str, Any]]]): The texts and their analyses."""
    nlp = spacy.load(pipeline)
    with nlp.memory_zone():
        return texts, [to_dict(doc) for doc in nlp.pipe(texts)]


def measure(
    running: Server, samples: Any, n_requests: int, n_connections: int, stop_after: int
) -> dict[str, Any]:
    """Send the requests.

    running (Server): The service.
    samples (Iterable[Request]): The requests.
    n_requests (int): How many they are.
    n_connections (int): Connections open at a time.
    stop_after (int): Stop the service after so many requests; 0 for never.
    RETURNS (Dict[str, Any]): The figures. Latencies count good requests only.
    """
    memory = {"start": running.get_memory()}

    def on_response(result: Result) -> None:
        if result.n_done == n_requests // 10:
            memory["after a tenth"] = running.get_memory()
        if result.n_done == stop_after:
            running.terminate()

    cpu, start = running.get_cpu_seconds(), perf_counter()
    result = asyncio.run(send_all(f"{running.url}/analyse", samples, n_connections, on_response))
    seconds = perf_counter() - start
    memory["end"] = running.get_memory()
    cpu_end = running.get_cpu_seconds()
    batch_size = running.get_batch_size()
    is_known = None not in (cpu, cpu_end) and not stop_after
    cpu_ms = round(1000 * (cpu_end - cpu) / result.n_done, 2) if is_known else None
    return {
        "n_requests": result.n_done,
        "n_connections": n_connections,
        "seconds": round(seconds, 1),
        "requests_per_s": round(result.statuses.total() / seconds, 1),
        "cpu_ms_per_request": cpu_ms,
        "texts_per_batch": batch_size and round(batch_size, 1),
        **get_percentiles(result.seconds),
        "statuses": {str(status): n for status, n in sorted(result.statuses.items())},
        "n_wrong": result.n_wrong,
        "n_unexpected": result.n_unexpected,
        "errors": dict(result.errors),
        "stopped": bool(stop_after),
        "memory_mb": {when: mb and round(mb, 1) for when, mb in memory.items()},
    }


def get_percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Median, 95th and 99th percentile in milliseconds."""
    if len(seconds) < 2:
        return {}
    percents = quantiles(seconds, n=100)
    return {f"p{p}_ms": round(1000 * percents[p - 1], 1) for p in (50, 95, 99)}


def count_computed(log: Path) -> int:
    """RETURNS (int): How many texts all processes have computed, by their last messages."""
    found = re.findall(r"All texts are computed: (\d+)", log.read_text(encoding="utf8"))
    return sum(map(int, found))


def is_good(report: dict[str, Any]) -> bool:
    """RETURNS (bool): Whether every answer is right and every text that the service accepted was
    answered. A service that was stopped may refuse connections.
    """
    return (
        not report["n_wrong"]
        and not report["n_unexpected"]
        and (report["stopped"] or not report["errors"])
        and report["n_computed"] == report["statuses"].get("200", 0)
    )


def print_reports(reports: list[dict[str, Any]]) -> None:
    """Print a table, a column for each pipeline."""
    rows: list[tuple[str, ...]] = []
    for name in reports[0]:
        values = [report.get(name) for report in reports]
        if isinstance(values[0], dict):
            keys = sorted({key for value in values for key in value or {}})
            rows += [(f"{name} {key}", *(str(v.get(key, "")) for v in values)) for key in keys]
        else:
            rows.append((name, *map(str, values)))
    msg.table(rows, aligns=["l"] + ["r"] * len(reports))


if __name__ == "__main__":
    app()
