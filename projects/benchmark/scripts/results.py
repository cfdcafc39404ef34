"""The files with results: what they say besides the numbers, and where they are."""

import hashlib
import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tasks import PROJECT

import spacy_rnn

RESULTS = PROJECT / "results"
PACKAGES = ("spacy", "thinc", "torch", "numpy", "spacy-rnn")
# What of the repository a result depends on
SOURCES = ("spacy_rnn", "configs", "projects/benchmark/configs")
SOURCES += tuple(
    f"projects/{name}/scripts" for name in ("benchmark", "bilm", "ner", "textcat", "ud_tagger")
)


@dataclass
class Accuracy:
    """The outcome of one training.

    system (str): The name of the system.
    corpus (str): The name of the corpus.
    seed (int): The random seed, and the number of the fold if the corpus has folds.
    commit (str): The repository's commit.
    dirty (bool): Whether the files the result depends on differed from that commit.
    config (str): A hash of the training config without seed and paths.
    code (str): A hash of the package's code.
    scores (dict[str, float]): The task's score on "dev" and "test", gold tokens.
    threshold (float | None): What `spacy find-threshold` chose on dev, if there is something.
    bilm (str): A hash of the pretrained language model's weights, if there is one.
    calibration (dict[str, Any] | None): How right probabilities are on test, where there are any.
    epochs (int): Passes over the training data that were begun.
    steps (int): The last step that was evaluated.
    best_step (int): The step whose weights were kept.
    seconds (float): The time `spacy train` took, loading and evaluations on dev included.
    """

    system: str
    corpus: str
    seed: int
    commit: str
    dirty: bool
    config: str
    code: str
    scores: dict[str, float] = field(default_factory=dict)
    threshold: float | None = None
    bilm: str = ""
    calibration: dict[str, Any] | None = None
    epochs: int = 0
    steps: int = 0
    best_step: int = 0
    seconds: float = 0.0
    date: str = field(default_factory=lambda: now())
    machine: dict[str, Any] = field(default_factory=lambda: get_machine())
    versions: dict[str, str] = field(default_factory=lambda: get_versions())


def now() -> str:
    """Get the time, UTC, in a form that sorts and goes into a file name."""
    return datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")


def get_machine() -> dict[str, Any]:
    """Describe the machine, without its name."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf8").splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    return {
        "cpu": cpu,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": _count_cores(),
        "torch_threads": torch.get_num_threads(),
        "system": platform.system(),
    }


def _count_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def get_versions() -> dict[str, str]:
    """Get the versions of Python and of what the systems are made of."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def get_commit() -> tuple[str, bool]:
    """Get the repository's short commit, and whether what results depend on was changed since.
    Without a commit it is "uncommitted".
    """
    commit = _git("rev-parse", "--short=10", "HEAD")
    if commit is None:
        return "uncommitted", True
    return commit, bool(_git("status", "--porcelain", "--", *SOURCES))


def _git(*args: str) -> str | None:
    root = PROJECT.parents[1]
    try:
        run = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()


def hash_config(config: dict[str, Any]) -> str:
    """Hash a training config without seed and paths."""
    config = {key: value for key, value in config.items() if key not in ("paths", "system")}
    return hashlib.md5(json.dumps(config, sort_keys=True).encode("utf8")).hexdigest()[:10]


def hash_code() -> str:
    """Hash the package's code."""
    code = hashlib.md5()
    for path in sorted(Path(spacy_rnn.__file__).parent.rglob("*.py")):
        code.update(path.read_bytes())
    return code.hexdigest()[:10]


def save_accuracy(result: Accuracy, results: Path = RESULTS) -> Path:
    """Write the outcome of a training.

    result (Accuracy): The outcome.
    results (Path): The directory of results.
    RETURNS (Path): The file.
    """
    commit = f"{result.commit}-dirty" if result.dirty else result.commit
    system = f"{result.system}-{result.bilm}" if result.bilm else result.system
    name = f"{system}__{result.corpus}__seed{result.seed}__{commit}.json"
    return write_json(results / "accuracy" / name, asdict(result))


def load_accuracies(results: Path = RESULTS) -> list[Accuracy]:
    """Read the outcomes of all trainings, the oldest first."""
    paths = (results / "accuracy").glob("*.json")
    return sorted((Accuracy(**read_json(path)) for path in paths), key=lambda result: result.date)


def find_accuracy(new: Accuracy, is_ours: bool, results: Path = RESULTS) -> Accuracy | None:
    """Find a stored training that has the same outcome as a new one: its system, corpus and
    seed are the same, and so are its commit, without changes since, or config, versions and our
    code. Our code does not matter to systems of spaCy's.

    new (Accuracy): The new training, whatever its numbers.
    is_ours (bool): Whether the system is one of ours.
    results (Path): The directory of results.
    RETURNS (Accuracy | None): The newest such training.
    """
    for old in reversed(load_accuracies(results)):
        keys = [(each.system, each.corpus, each.seed, each.bilm) for each in (old, new)]
        if keys[0] != keys[1]:
            continue
        same_commit = old.commit == new.commit and not (old.dirty or new.dirty)
        same_code = old.code == new.code or not is_ours
        others = [{**result.versions, "spacy-rnn": ""} for result in (old, new)]
        if same_commit or (old.config == new.config and same_code and others[0] == others[1]):
            return old
    return None


def save_speed(speed: dict[str, Any], results: Path = RESULTS) -> Path:
    """Write what a run of speed.py measured.

    speed (dict[str, Any]): The measurements, "task", "commit" and "date" among them.
    results (Path): The directory of results.
    RETURNS (Path): The file.
    """
    name = f"{speed['task']}__{speed['commit']}__{speed['date']}.json"
    return write_json(results / "speed" / name, speed)


def load_newest_speed(task: str, results: Path = RESULTS) -> dict[str, Any] | None:
    """Read the newest measurements of the speed of a task's systems, None if there are none."""
    runs = [read_json(path) for path in (results / "speed").glob(f"{task}__*.json")]
    return max(runs, key=lambda run: run["date"], default=None)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of results.

    path (Path): The file.
    RETURNS (dict[str, Any]): What it holds.
    RAISES (ValueError): The file is broken.
    """
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except ValueError as err:
        raise ValueError(f"{path} is no complete file of results ({err}): delete it.") from err


def write_json(path: Path, data: dict[str, Any]) -> Path:
    """Write a file that is complete or absent. Numbers are exact, which srsly's are not.

    path (Path): The file. Its directory is made if there is none.
    data (dict[str, Any]): What it shall hold.
    RETURNS (Path): The file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    text = json.dumps(data, indent=2, ensure_ascii=False)
    partial.write_text(text + "\n", encoding="utf8")
    return partial.replace(path)
