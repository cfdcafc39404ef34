"""Measure systems as they are deployed, each in its own environment: start, memory, size, speed.

Every measurement is a new process. In every repeat, the systems take turns.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from data import read_texts
from results import RESULTS, get_commit, get_machine, now, write_json
from runtime_systems import SYSTEMS, get_model, get_python
from spacy.language import Language
from tasks import TASKS
from timing import LATENCY_TOKENS
from wasabi import msg

PROBE = Path(__file__).with_name("runtime_probe.py")

app = typer.Typer(add_completion=False)


@app.command()
def runtime_cli(
    environments: Annotated[Path, typer.Argument(help="Directory of virtual environments")],
    system: Annotated[list[str] | None, typer.Option(help="Systems (default: all)")] = None,
    repeats: Annotated[int, typer.Option(help="How many times to measure")] = 5,
    threads: Annotated[int, typer.Option(help="How many threads each system may use")] = 1,
    limit: Annotated[int, typer.Option(help="How many texts to take, 0 for all")] = 0,
    results: Annotated[Path, typer.Option(help="Directory of results")] = RESULTS,
) -> None:
    """Measure the systems, and store each in runtime/SYSTEM.json."""
    names = system or list(SYSTEMS)
    unknown = set(names) - set(SYSTEMS)
    if unknown:
        msg.fail(f"Unknown: {', '.join(sorted(unknown))}", f"Known: {', '.join(SYSTEMS)}", exits=1)
    left = [name for name in names if not _is_ready(name, environments)]
    if left:
        hint = "Run `spacy project run environments` and `runtime_models`."
        msg.warn(f"Left out, without an environment or a model: {', '.join(left)}", hint)
    names = [name for name in names if name not in left]
    commit, dirty = get_commit()
    common = {
        "commit": commit,
        "dirty": dirty,
        "date": now(),
        "machine": get_machine(),
        "settings": {"repeats": repeats, "threads": threads},
    }
    with tempfile.TemporaryDirectory() as directory:
        texts = Path(directory)
        counts = write_texts(texts, limit)
        runs = measure(names, environments, texts, repeats, threads)
    for name in names:
        count = counts[SYSTEMS[name].task_name]
        result = {"system": name, **common, **count, **runs[name]}
        write_json(results / "runtime" / f"{name}.json", result)
    msg.good(f"Stored {len(names)} files in {results.name}/runtime")


def _is_ready(name: str, environments: Path) -> bool:
    system = SYSTEMS[name]
    return (
        get_python(environments, system.environment).exists() and get_model(system.model).exists()
    )


def write_texts(directory: Path, limit: int) -> dict[str, dict[str, int]]:
    """Write the texts of each task, for spaCy and Flair as TASK.json and for Stanza, whose tokens
    stand between spaces, as TASK.stanza.json.

    directory (Path): Where to write.
    limit (int): How many texts to take. 0 for all.
    RETURNS (dict[str, dict[str, int]]): How many "texts" and "words" each task has.
    """
    nlp = spacy.blank("en")
    counts = {}
    for task in dict.fromkeys(system.task_name for system in SYSTEMS.values()):
        texts = read_texts([TASKS[task].texts[-1]])[: limit or None]
        short = [text for text in texts if len(nlp(text)) == LATENCY_TOKENS] or texts[:1]
        words = sum(len(doc) for doc in nlp.pipe(texts))
        data = {"texts": texts, "short": short, "words": words}
        split = {"texts": _split(nlp, texts), "short": _split(nlp, short), "words": words}
        write_json(directory / f"{task}.json", data)
        write_json(directory / f"{task}.stanza.json", split)
        counts[task] = {"texts": len(texts), "words": words}
    return counts


def _split(nlp: Language, texts: list[str]) -> list[str]:
    return [" ".join(token.text for token in nlp(text) if not token.is_space) for text in texts]


def measure(
    names: list[str], environments: Path, texts: Path, repeats: int, threads: int
) -> dict[str, dict[str, Any]]:
    """Measure the systems in turns.

    names (list[str]): Names in SYSTEMS.
    environments (Path): The directory of virtual environments.
    texts (Path): The directory with the texts.
    repeats (int): How many times to measure.
    threads (int): How many threads each system may use.
    RETURNS (dict[str, dict[str, Any]]): For each system the sizes, and the "median" and all "runs"
        of everything else.
    """
    sizes = {name: probe("size", name, environments, texts, threads) for name in names}
    for name in names:  # So that no system reads from a cold disk
        probe("start", name, environments, texts, threads)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for i in range(repeats):
        for name in names:
            start = time.perf_counter()
            run = probe("start", name, environments, texts, threads)
            run["wall_s"] = round(time.perf_counter() - start, 3)
            run |= probe("stream", name, environments, texts, threads)
            runs[name].append(run)
            speed, memory = f"{run['warm']:,.0f} words/s", f"{run['memory_mb']:.0f} MB"
            start_s = f"first text after {run['cpu_s']:.2f} CPU seconds"
            msg.text(f"{i + 1} of {repeats}, {name}: {start_s}, {memory}, {speed}")
    return {
        name: {
            **sizes[name],
            **{
                key: {
                    "median": statistics.median(run[key] for run in runs[name]),
                    "runs": [run[key] for run in runs[name]],
                }
                for key in runs[name][0]
            },
        }
        for name in names
    }


def probe(what: str, name: str, environments: Path, texts: Path, threads: int) -> dict[str, Any]:
    """Run runtime_probe.py in the environment of a system.

    what (str): What to measure: "start", "stream" or "size".
    RETURNS (dict[str, Any]): What it printed.
    """
    system = SYSTEMS[name]
    suffix = ".stanza.json" if system.library == "stanza" else ".json"
    command = [str(get_python(environments, system.environment)), str(PROBE), what]
    command += [system.library, str(get_model(system.model))]
    command += [str(texts / f"{system.task_name}{suffix}")]
    # Of this environment, nothing but the system's own packages may be imported.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        env[variable] = str(threads)
    env["BLIS_NUM_THREADS"] = str(threads)
    env["SPACY_RNN_NUM_THREADS"] = str(threads)
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    return json.loads(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    app()
