"""Train taggers and entity recognisers with a pretrained language model and without, and make a
table of what they come to. What is stored already is not trained again.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import spacy
import srsly
import typer
from add_bilm import BILM, add_bilm
from spacy.training import Corpus
from spacy.util import load_config
from wasabi import msg

PROJECT = Path(__file__).resolve().parents[1]
CONFIGS = BILM.parent
# Directory of the data, config, what of spaCy's scores counts, and what both are called
TASKS = {
    "wnut17": (CONFIGS / "ner.cfg", "ents_f", "WNUT17, F1"),
    "uner_en_ewt": (CONFIGS / "ner.cfg", "ents_f", "UNER English-EWT, F1"),
    "ud_en_ewt": (CONFIGS / "tagger.cfg", "tag_acc", "UD English-EWT, XPOS"),
}
app = typer.Typer(add_completion=False)


@dataclass
class Result:
    """What a training came to.

    corpus (str): The directory of the data.
    seed (int): The random seed.
    bilm (str): The name of the language model, empty without one.
    commit (str): The state of the code.
    dev, test (float): The scores.
    seconds (float): How long training took.
    steps (int): The step of the best model.
    """

    corpus: str
    seed: int
    bilm: str
    commit: str
    dev: float
    test: float
    seconds: float
    steps: int

    @property
    def name(self) -> str:
        return f"{self.corpus}__{self.bilm or 'without'}__seed{self.seed}.json"


@app.command()
def train(
    corpora: Annotated[Path, typer.Argument(help="Directory of corpora: train, dev, test.spacy")],
    bilm: Annotated[
        Path | None, typer.Option(help="Pipeline that pretraining saved; none trains without")
    ] = None,
    corpus: Annotated[list[str] | None, typer.Option(help="Corpora (default: all)")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seeds (default: 0, 1, 2)")] = None,
    name: Annotated[str, typer.Option(help="What the language model is called")] = "bilm",
    width: Annotated[int, typer.Option(help="Width to map its layers to; 0: as they are")] = 0,
    dropout: Annotated[float, typer.Option(help="Dropout of its layers")] = 0.5,
    cache_mb: Annotated[int, typer.Option(help="Memory for its layers in training, MB")] = 2000,
    results: Annotated[Path, typer.Option(help="Directory of results")] = PROJECT / "results",
) -> None:
    """Train and evaluate."""
    for number in seed or [0, 1, 2]:
        for chosen in corpus or list(TASKS):
            config_path, score, title = TASKS[chosen]
            path = results / Result(chosen, number, name if bilm else "", "", 0, 0, 0, 0).name
            if path.exists():
                msg.info(f"{path.name} is stored")
                continue
            config = load_config(config_path, interpolate=False)
            if bilm is not None:
                pretraining = load_config(bilm / "config.cfg", interpolate=False)
                config = add_bilm(config, pretraining, width=width or None, dropout=dropout)
                config["paths"]["bilm"] = str(bilm.resolve())
                config["components"]["bilm"]["cache_mb"] = cache_mb
            output = PROJECT / "training" / path.stem
            result = _train(config, chosen, number, corpora / chosen, output, score)
            result.bilm = name if bilm else ""
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".tmp")
            srsly.write_json(temporary, asdict(result))
            temporary.replace(path)
            msg.good(f"{title}, seed {number}: {100 * result.test:.2f} ({path.name})")


@app.command()
def report(
    results: Annotated[Path, typer.Option(help="Directory of results")] = PROJECT / "results",
) -> None:
    """Print a table of all that is stored."""
    stored = [Result(**srsly.read_json(path)) for path in sorted(results.glob("*__seed*.json"))]
    rows = []
    for corpus, (_, _, title) in TASKS.items():
        for name in sorted({result.bilm for result in stored if result.corpus == corpus}):
            found = [r for r in stored if (r.corpus, r.bilm) == (corpus, name)]
            tests = [100 * result.test for result in found]
            rows.append(
                (
                    title,
                    name or "without",
                    f"{100 * statistics.mean(r.dev for r in found):.2f}",
                    f"{statistics.mean(tests):.2f}",
                    ", ".join(f"{value:.2f}" for value in tests),
                )
            )
    header = ("Task", "Language model", "Dev", "Test", "Seeds")
    msg.table(rows, header=header, divider=True)


def _train(config: Any, corpus: str, seed: int, data: Path, output: Path, score: str) -> Result:
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    log = output / "log.jsonl"
    config["training"]["logger"] = {
        "@loggers": "spacy.ConsoleLogger.v3",
        "output_file": str(log),
    }
    config["system"]["seed"] = seed
    config.to_disk(output / "config.cfg")
    command = [sys.executable, "-m", "spacy", "train", str(output / "config.cfg")]
    command += ["--output", str(output)]
    for part in ("train", "dev"):
        command += [f"--paths.{part}", str(data / f"{part}.spacy")]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    best = max(rows, key=lambda row: (row["score"], row["step"]))
    nlp = spacy.load(output / "model-best")
    dev, test = (
        nlp.evaluate(list(Corpus(data / f"{part}.spacy")(nlp)))[score] for part in ("dev", "test")
    )
    return Result(corpus, seed, "", _get_commit(), dev, test, round(seconds, 1), best["step"])


def _get_commit() -> str:
    command = ["git", "-C", os.fspath(PROJECT), "describe", "--always", "--dirty"]
    run = subprocess.run(command, capture_output=True, text=True)
    return run.stdout.strip()


if __name__ == "__main__":
    app()
