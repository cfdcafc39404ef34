"""Make the table of systems as they are deployed from the stored measurements."""

import statistics
from pathlib import Path
from typing import Any

from results import read_json
from runtime_systems import SYSTEMS
from tasks import TASKS

# Heads of the columns, and how a value is written
COLUMNS = {
    "cpu_s": ("Start, CPU s", ".2f"),
    "wall_s": ("Start, s", ".2f"),
    "memory_mb": ("Memory, MB", ",.0f"),
    "peak_mb": ("Peak, MB", ",.0f"),
    "environment_mb": ("Environment, MB", ",.0f"),
    "model_mb": ("Model, MB", ".1f"),
    "first_pass": ("First pass, words/s", ",.0f"),
    "warm": ("Warm, words/s", ",.0f"),
    "warm_cpu": ("Warm, words/CPU s", ",.0f"),
    "latency_ms": ("One text, ms", ".2f"),
}


def load_runtimes(results: Path) -> list[dict[str, Any]]:
    """Read what runtime.py measured, in the order of SYSTEMS."""
    paths = (results / "runtime" / f"{name}.json" for name in SYSTEMS)
    return [read_json(path) for path in paths if path.exists()]


def compare_with_torch(runtimes: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Compare our systems without torch with the same ones where torch is installed.

    runtimes (list[dict[str, Any]]): What `load_runtimes` returned.
    RETURNS (dict[str, dict[str, float]]): For each system without torch, the medians of the ratios
        of words per second and of the latency, CPU time, repeat by repeat, within one run.
    """
    by_name = {each["system"]: each for each in runtimes}
    ratios = {}
    for name, without in by_name.items():
        with_torch = by_name.get(f"{name}-torch")
        if with_torch is None or with_torch["date"] != without["date"]:
            continue
        keys = ("first_pass_cpu", "warm_cpu", "latency_cpu_ms")
        ratios[name] = {
            key: statistics.median(
                a / b for a, b in zip(without[key]["runs"], with_torch[key]["runs"], strict=True)
            )
            for key in keys
        }
    return ratios


def make_section(runtimes: list[dict[str, Any]]) -> list[str]:
    """Write the section of the report."""
    if not runtimes:
        return []
    rule = ["---", *["---:"] * len(COLUMNS)]
    parts = ["## Without torch"]
    for task in dict.fromkeys(SYSTEMS[each["system"]].task_name for each in runtimes):
        head = [TASKS[task].title, *(title for title, _ in COLUMNS.values())]
        rows = [_make_row(each) for each in runtimes if SYSTEMS[each["system"]].task_name == task]
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)))
    for name, ratio in compare_with_torch(runtimes).items():
        parts.append(
            f"{SYSTEMS[name].title} without torch, as a multiple of the same with torch installed, "
            f"CPU time: first pass {ratio['first_pass_cpu']:.2f}, warm {ratio['warm_cpu']:.2f}, "
            f"latency {ratio['latency_cpu_ms']:.2f}."
        )
    settings, machine = runtimes[0]["settings"], runtimes[0]["machine"]
    runs = sorted({f"{each['commit']}, {each['date']} UTC" for each in runtimes})
    parts.append(
        f"Every measurement is a new process with {settings['threads']} thread(s), the systems "
        f"taking turns, medians of {settings['repeats']}, on {machine['cpu']} "
        f"({machine['instructions']}); commit {'; '.join(runs)}. Start and memory: until the first "
        "annotated text. The environment is its site-packages on disk, without pip and Python. "
        "Flair's and Stanza's models were trained for a minute, for their speed only; Stanza gets "
        "tokenized text."
    )
    return parts


def _make_row(runtime: dict[str, Any]) -> list[str]:
    system = SYSTEMS[runtime["system"]]
    title = f"**{system.title}**" if system.environment == "runtime" else system.title
    cells = []
    for key, (_, form) in COLUMNS.items():
        value = runtime[key]["median"] if isinstance(runtime[key], dict) else runtime[key]
        cells.append(format(value, form))
    return [title, *cells]
