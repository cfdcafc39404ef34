"""Train the systems on UD English-EWT and store how accurate they are. What is stored already is
skipped, so runs add up: stop at any time, and go on another day.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import spacy
import srsly
import typer
from results import (
    RESULTS,
    Accuracy,
    find_accuracy,
    get_commit,
    hash_code,
    hash_config,
    save_accuracy,
)
from spacy.training import Corpus
from systems import PROJECT, SYSTEMS, get_config
from thinc.api import Config
from wasabi import msg

app = typer.Typer(add_completion=False)


@app.command()
def accuracy_cli(
    corpus: Annotated[Path, typer.Argument(help="Directory with train, dev and test.spacy")],
    system: Annotated[
        list[str] | None, typer.Option(help="Systems to train (default: all)")
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
    missing = [name for name in ("train", "dev", "test") if not (corpus / f"{name}.spacy").exists()]
    if missing:
        msg.fail(
            f"No {', '.join(missing)} in {corpus}", "Run `spacy project run convert`.", exits=1
        )
    for name in system or SYSTEMS:
        for number in seed or range(SYSTEMS[name].seeds):
            run_training(name, number, corpus, results, force=force)


def run_training(
    name: str,
    seed: int,
    corpus: Path,
    results: Path = RESULTS,
    *,
    force: bool = False,
    overrides: dict[str, Any] | None = None,
) -> Accuracy:
    """Train a system in its own process, evaluate it and store the outcome, unless there is one.

    name (str): The name of the system.
    seed (int): The random seed.
    corpus (Path): The directory with train.spacy, dev.spacy and test.spacy.
    results (Path): The directory of results.
    force (bool): Whether to train even so.
    overrides (dict[str, Any] | None): Changes of [training], to try things out.
    RETURNS (Accuracy): The outcome.
    """
    config = get_config(name)
    config["training"].update(overrides or {})
    commit, dirty = get_commit()
    result = Accuracy(name, seed, commit, dirty, hash_config(config), hash_code())
    stored = find_accuracy(result, SYSTEMS[name].is_ours, results)
    if stored and not force:
        msg.info(f"{name}, seed {seed}: stored, from commit {stored.commit}")
        return stored
    msg.divider(f"{name}, seed {seed}")
    output = PROJECT / "training" / name / f"seed_{seed}"
    seconds, log = train(config, seed, corpus, output)
    best = max(log, key=lambda row: (row["score"], -row["step"]))
    result.seconds = round(seconds, 1)
    result.epochs, result.steps = log[-1]["epoch"] + 1, log[-1]["step"]
    result.best_step = best["step"]
    for part in ("dev", "test"):
        result.tag_acc[part] = evaluate(output / "model-best", corpus / f"{part}.spacy")
    path = save_accuracy(result, results)
    msg.good(f"{path.name}: {result.tag_acc['test']:.4f} on test, {seconds / 60:.1f} minutes")
    return result


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


def evaluate(model: Path, data: Path) -> float:
    """Get a model's accuracy on gold tokens, as `spacy evaluate` does."""
    nlp = spacy.load(model)
    return nlp.evaluate(list(Corpus(data)(nlp)))["tag_acc"]


if __name__ == "__main__":
    app()
