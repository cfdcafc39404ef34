"""Kill a worker of an engine with SIGKILL while it works, and wait for the job to end."""

from __future__ import annotations

import shutil
import sys
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from wasabi import msg

if TYPE_CHECKING:
    from psutil import Process

app = typer.Typer(add_completion=False)


class Kind(str, Enum):
    """What to kill."""

    actor = "ray-actor"
    worker = "spark-worker"
    executor = "spark-executor"


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def kill_cli(
    context: typer.Context,
    kind: Annotated[Kind, typer.Argument(help="What to kill")],
    pipeline: Annotated[str, typer.Argument(help="Trained pipeline")],
    source: Annotated[str, typer.Argument(help="Parquet files")],
    target: Annotated[Path, typer.Argument(help="Directory to write. It is deleted first")],
) -> None:
    """Run annotate_ray.py or annotate_spark.py here, and kill a worker when the first results are
    there. Their options may follow. A Spark executor needs --master "local-cluster[2,1,1024]".
    Exits with 1 if the job fails.
    """
    import psutil

    shutil.rmtree(target, ignore_errors=True)
    engine = kind.value.partition("-")[0]
    script = Path(__file__).with_name(f"annotate_{engine}.py")
    results = "*.parquet" if engine == "ray" else "_temporary/*/task_*/*.parquet"
    command = [sys.executable, script, pipeline, source, target, *context.args]
    job = psutil.Popen([str(word) for word in command])
    victim, workers = None, []
    while victim is None and job.poll() is None:
        time.sleep(0.02)
        if any(target.glob(results)):
            workers = find_workers(job, kind)
            victim = find_busiest(workers)
    if victim is None:
        msg.fail("The job ended before a worker could be killed", "Take more texts.", exits=1)
    victim.kill()
    others = {worker.pid for worker in workers}
    msg.info(f"Killed process {victim.pid} at work, one of {sorted(others)}")
    started: set[int] = set()
    while job.poll() is None:
        started |= {worker.pid for worker in find_workers(job, kind)} - others
        time.sleep(0.1)
    if job.returncode or not started:
        msg.fail(f"Exit status {job.returncode}, started instead: {sorted(started)}", exits=1)
    msg.good(f"Started instead: {sorted(started)}")


def find_workers(job: Process, kind: Kind) -> list[Process]:
    """RETURNS (List[Process]): The processes below the job's that annotate."""
    import psutil

    workers = []
    for process in job.children(recursive=True):
        try:
            name = " ".join(process.cmdline())
            # Spark's daemon forks the workers.
            above = " ".join(process.parent().cmdline())
        except (psutil.Error, AttributeError):  # it has ended
            continue
        is_worker = {
            Kind.actor: name.startswith("ray::") and "Annotate" in name,
            Kind.worker: "pyspark.daemon" in name and "pyspark.daemon" in above,
            Kind.executor: "CoarseGrainedExecutorBackend" in name and "java" in name.split()[0],
        }[kind]
        if is_worker:
            workers.append(process)
    return workers


def find_busiest(workers: list[Process]) -> Process | None:
    """RETURNS (Optional[Process]): The process that computed most in the last half second, if any
    was at work.
    """
    before = [get_cpu_time(worker) for worker in workers]
    time.sleep(0.5)
    used = [get_cpu_time(worker) - start for worker, start in zip(workers, before, strict=True)]
    best = max(range(len(workers)), key=used.__getitem__, default=None)
    return workers[best] if best is not None and used[best] > 0.1 else None


def get_cpu_time(process: Process) -> float:
    """RETURNS (float): Seconds of the process and those below it, 0 if it has ended."""
    import psutil

    try:
        processes = [process, *process.children(recursive=True)]
        return float(sum(sum(each.cpu_times()[:2]) for each in processes))
    except psutil.Error:
        return 0.0


if __name__ == "__main__":
    app()
