"""Train the systems and store how accurate they are. What is stored already is skipped, so runs
add up: stop at any time, and go on another day.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import spacy
import srsly
import typer
from pipelines import get_config, hash_bilm
from results import (
    RESULTS,
    Accuracy,
    find_accuracy,
    get_commit,
    hash_code,
    hash_config,
    read_json,
    save_accuracy,
)
from spacy.cli.find_threshold import find_threshold
from spacy.training import Corpus
from systems import SYSTEMS, select_available
from tasks import PROJECT, Task
from thinc.api import Config
from wasabi import msg

PARTS = ("train", "dev", "test")

app = typer.Typer(add_completion=False)


@app.command()
def accuracy_cli(
    corpora: Annotated[Path, typer.Argument(help="Directory of corpora: train, dev, test.spacy")],
    system: Annotated[
        list[str] | None, typer.Option(help="Systems to train (default: all)")
    ] = None,
    corpus: Annotated[
        list[str] | None, typer.Option(help="Corpora to train on (default: all of the task)")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Seeds (default: as many as each system needs)")
    ] = None,
    force: Annotated[bool, typer.Option(help="Train anew what is stored")] = False,
    results: Annotated[Path, typer.Option(help="Directory of results")] = RESULTS,
) -> None:
    """Train the systems and store how accurate they are."""
    unknown = set(system or ()) - set(SYSTEMS)
    if unknown:
        msg.fail(f"Unknown systems: {', '.join(unknown)}", f"Known: {', '.join(SYSTEMS)}", exits=1)
    trainings = [
        (number, name, chosen)
        for name in select_available(system or SYSTEMS, corpus or ())
        for task in [SYSTEMS[name].task]
        for chosen in task.corpora
        if not corpus or chosen in corpus
        for number in seed or range(task.count_trainings(chosen, SYSTEMS[name].seeds))
    ]
    missing = {
        path
        for number, name, chosen in trainings
        for part in PARTS
        if not (path := get_data(name, chosen, number, corpora) / f"{part}.spacy").exists()
    }
    if not trainings:
        msg.fail("There is nothing to train", "See --system, --corpus and --seed.", exits=1)
    if missing:
        names = ", ".join(map(str, sorted(missing)))
        msg.fail(f"There is no {names}", "Run `spacy project run fetch` and `convert`.", exits=1)
    # The first seed of every system before the second of any.
    for number, name, chosen in sorted(trainings, key=lambda training: training[0]):
        run_training(name, chosen, number, corpora, results, force=force)


def get_data(system: str, corpus: str, number: int, corpora: Path) -> Path:
    """Get the directory of the data of a system's training."""
    return SYSTEMS[system].task.get_directory(corpora, corpus, number)


def run_training(
    name: str,
    corpus: str,
    seed: int,
    corpora: Path,
    results: Path = RESULTS,
    *,
    force: bool = False,
) -> Accuracy:
    """Train a system in its own process, evaluate it and store the outcome, unless there is one.

    name (str): The name of the system.
    corpus (str): The name of the corpus.
    seed (int): The random seed, and the number of the fold if the corpus has folds.
    corpora (Path): The directory of all corpora.
    results (Path): The directory of results.
    force (bool): Whether to train even so.
    RETURNS (Accuracy): The outcome.
    """
    config = get_training_config(name, corpus)
    commit, dirty = get_commit()
    result = Accuracy(name, corpus, seed, commit, dirty, hash_config(config), hash_code())
    result.bilm = hash_bilm(name, corpus)
    title = f"{name}, {corpus}, seed {seed}"
    stored = find_accuracy(result, SYSTEMS[name].is_ours, results)
    if stored and not force:
        msg.info(f"{title}: stored, from commit {stored.commit}")
        return stored
    msg.divider(title)
    data = get_data(name, corpus, seed, corpora)
    output = PROJECT / "training" / name / corpus / f"seed_{seed}"
    seconds, log = train(config, seed, data, output)
    # Of equal ones spaCy keeps the last.
    best = max(log, key=lambda row: (row["score"], row["step"]))
    result.seconds = round(seconds, 1)
    result.epochs, result.steps = log[-1]["epoch"] + 1, log[-1]["step"]
    result.best_step = best["step"]
    task, model = SYSTEMS[name].task, output / "model-best"
    result.threshold = choose_on_dev(task, model, data / "dev.spacy")
    for part in ("dev", "test"):
        scores = evaluate(model, data / f"{part}.spacy")
        result.scores[part] = scores[task.score]
    if task.calibration and SYSTEMS[name].is_ours:
        result.calibration = calibrate(task.calibration, model, data / "test.spacy")
    path = save_accuracy(result, results)
    msg.good(f"{path.name}: {result.scores['test']:.4f} on test, {seconds / 60:.1f} minutes")
    return result


def get_training_config(name: str, corpus: str) -> Config:
    """Get the training config of a system, with what is changed for a corpus."""
    config = get_config(name, corpus)
    if not SYSTEMS[name].is_ours:
        return config
    return override(config, SYSTEMS[name].task.changes.get(corpus, {}))


def override(config: Config, changes: dict[str, Any]) -> Config:
    """Change settings of a config, by their names with dots."""
    return Config().from_str(config.to_str(), interpolate=False, overrides=changes)


def train(
    config: Config, seed: int, corpus: Path, output: Path
) -> tuple[float, list[dict[str, Any]]]:
    """Run `spacy train`.

    config (Config): The training config.
    seed (int): The random seed.
    corpus (Path): The directory with train.spacy and dev.spacy.
    output (Path): The directory of the model. What is there is deleted.
    RETURNS (tuple[float, list[dict[str, Any]]]): The seconds it took, and spaCy's log: a row for
        each evaluation.
    """
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    log_path = output / "log.jsonl"
    logger = {"@loggers": "spacy.ConsoleLogger.v3", "output_file": str(log_path)}
    config["training"]["logger"] = logger
    config["system"]["seed"] = seed
    config.to_disk(output / "config.cfg")
    command = [sys.executable, "-m", "spacy", "train", str(output / "config.cfg")]
    command += ["--output", str(output), "--training.seed", str(seed)]
    for part in ("train", "dev"):
        command += [f"--paths.{part}", str(corpus / f"{part}.spacy")]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start, list(srsly.read_jsonl(log_path))


def choose_on_dev(task: Task, model: Path, dev: Path) -> float | None:
    """Choose the setting that a task has for that, if the component has it, and store it with the
    model.

    task (Task): The task.
    model (Path): The trained pipeline.
    dev (Path): The data.
    RETURNS (float | None): The value.
    """
    nlp = spacy.load(model)
    component = nlp.pipe_names[-1]
    settings = nlp.get_pipe(component).cfg  # type: ignore[attr-defined]
    if task.chosen_on_dev not in settings:
        return None
    value, *_ = find_threshold(str(model), dev, component, task.chosen_on_dev, task.score)
    settings[task.chosen_on_dev] = value
    nlp.to_disk(model)
    return value


def evaluate(model: Path, data: Path) -> dict[str, Any]:
    """Get a model's scores on gold tokens, as `spacy evaluate` does."""
    nlp = spacy.load(model)
    return nlp.evaluate(list(Corpus(data)(nlp)))


def calibrate(script: Path, model: Path, data: Path) -> dict[str, Any]:
    """Run the script that holds a model's probabilities against how often it is right."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "calibration.json"
        command = [sys.executable, str(script), str(model), str(data), str(output)]
        subprocess.run(command, check=True)
        return read_json(output)


if __name__ == "__main__":
    app()
