"""Train the models that runtime.py measures: briefly, for their speed."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import spacy
import typer
from accuracy import get_training_config, train
from runtime_systems import SYSTEMS as RUNTIME
from runtime_systems import Runtime, get_model, get_python
from spacy.tokens import Doc, DocBin
from spacy.training.iob_utils import doc_to_biluo_tags
from systems import SYSTEMS
from tasks import TASKS, UD
from wasabi import msg

# Units and layers of Flair's and Stanza's models
SIZES = {"tagger": (128, 2), "ner": (256, 1)}
BATCH_SIZE = 32
BIOES = {"L": "E", "U": "S"}

app = typer.Typer(add_completion=False)


@app.command()
def runtime_models_cli(
    corpora: Annotated[Path, typer.Argument(help="Directory of corpora: train, dev.spacy")],
    environments: Annotated[Path, typer.Argument(help="Directory of virtual environments")],
    steps: Annotated[
        int, typer.Option(help="How many steps to train, of spaCy's or Stanza's")
    ] = 400,
) -> None:
    """Train each model that there is not yet."""
    trainers = {"spacy": train_spacy, "flair": train_flair, "stanza": train_stanza}
    for system in RUNTIME.values():
        model = get_model(system.model)
        if not model.exists():
            msg.divider(system.model)
            python = get_python(environments, system.environment)
            trainers[system.library](system, corpora, model, python, steps)


def train_spacy(system: Runtime, corpora: Path, model: Path, python: Path, steps: int) -> None:
    """Train a pipeline of ours or of spaCy's, in this environment."""
    name = system.model
    corpus = next(iter(SYSTEMS[name].task.corpora))
    config = get_training_config(name, corpus)
    config["training"].update(max_steps=steps, eval_frequency=steps)
    data = SYSTEMS[name].task.get_directory(corpora, corpus, 0)
    train(config, 0, data, model.parent)


def train_flair(system: Runtime, corpora: Path, model: Path, python: Path, steps: int) -> None:
    """Train a model of Flair's, on as many sentences as there are in so many steps."""
    task = system.task_name
    data = model.with_name("data")
    data.mkdir(parents=True, exist_ok=True)
    for part in ("train", "dev", "test"):
        docs = read_docs(corpora, task, part)
        sentences = ["\n".join(map("\t".join, read_labels(doc, task))) for doc in docs]
        (data / f"{part}.txt").write_text("\n\n".join(sentences) + "\n", encoding="utf8")
    units, layers = SIZES[task]
    script = Path(__file__).with_name("runtime_flair.py")
    label = "ner" if task == "ner" else "pos"
    command = [str(python), str(script), str(data), str(model.with_name("log")), label]
    subprocess.run([*command, str(units), str(layers), str(BATCH_SIZE * steps)], check=True)
    model.mkdir()
    shutil.move(model.with_name("log") / "final-model.pt", model)


def train_stanza(system: Runtime, corpora: Path, model: Path, python: Path, steps: int) -> None:
    """Train a model of Stanza's by the script of its package, without pretrained vectors."""
    task = system.task_name
    units, layers = SIZES[task]
    name = "ner_tagger" if task == "ner" else "tagger"
    command = [str(python), "-m", f"stanza.models.{name}", "--mode", "train", "--no_pretrain"]
    command += ["--lang", "en"] if task != "ner" else []
    command += ["--hidden_dim", str(units), "--num_layers", str(layers), "--cpu"]
    command += ["--batch_size", str(BATCH_SIZE)]
    command += ["--max_steps", str(steps), "--eval_interval", str(steps)]
    command += ["--shorthand", "en_ewt", "--save_dir", str(model)]
    command += ["--save_name", "ner.pt" if task == "ner" else "pos.pt"]
    model.mkdir(parents=True)
    # Stanza's list of what it can download, which it wants to read
    (model / "resources.json").write_text("{}", encoding="utf8")
    for option, part in (("--train_file", "train"), ("--eval_file", "dev")):
        path = UD / "assets" / "ud_en_ewt" / f"{part}.conllu"
        if task == "ner":
            path = model.with_name(f"{part}.json")
            docs = read_docs(corpora, task, part)
            sentences = [
                [{"text": word, "ner": label} for word, label in read_labels(doc, task)]
                for doc in docs
            ]
            path.write_text(json.dumps(sentences), encoding="utf8")
        command += [option, str(path)]
    subprocess.run(command, check=True)


def read_docs(corpora: Path, task: str, part: str) -> Iterator[Doc]:
    """Read the Docs of a part of the first corpus of a task."""
    path = corpora / next(iter(TASKS[task].corpora)) / f"{part}.spacy"
    yield from DocBin().from_disk(path).get_docs(spacy.blank("en").vocab)


def read_labels(doc: Doc, task: str) -> list[tuple[str, str]]:
    """Read the words of a Doc with their tags, or labels of entities in the scheme BIOES."""
    if task != "ner":
        return [(token.text, token.tag_) for token in doc]
    # spaCy's BILUO has other letters.
    tags = doc_to_biluo_tags(doc)
    return [
        (token.text, BIOES.get(tag[0], tag[0]) + tag[1:])
        for token, tag in zip(doc, tags, strict=True)
    ]


if __name__ == "__main__":
    app()
