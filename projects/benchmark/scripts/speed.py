"""Measure how fast the systems are, all of them in one run, and store it."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from data import read_lengths, read_texts, read_training_data
from encoder import time_encoders
from pipelines import build_pipeline
from results import RESULTS, get_commit, get_machine, get_versions, now, save_speed
from spacy.language import Language
from systems import get_systems, select_available
from tasks import TASKS
from timing import (
    BLOCK,
    LATENCY_TOKENS,
    make_new_texts,
    measure_memory,
    time_inference,
    time_latency,
    time_training,
)
from wasabi import msg

INIT_EXAMPLES = 200

app = typer.Typer(add_completion=False)


@app.command()
def speed_cli(
    corpora: Annotated[Path, typer.Argument(help="Directory of corpora: train, test.spacy")],
    task: Annotated[
        list[str] | None,
        typer.Option(help="Tasks whose systems to measure (default: all with texts)"),
    ] = None,
    repeats: Annotated[int, typer.Option(help="How many times to measure")] = 5,
    rounds: Annotated[int, typer.Option(help="The same for the encoder alone")] = 9,
    calls: Annotated[int, typer.Option(help="The same for the latency")] = 200,
    words: Annotated[int, typer.Option(help="How many words to train on in a repeat")] = 15_000,
    limit: Annotated[int, typer.Option(help="How many texts to take, 0 for all")] = 0,
    results: Annotated[Path, typer.Option(help="Directory of results")] = RESULTS,
) -> None:
    """Measure words per second of inference and training, the latency of texts with 20 tokens,
    the peak of the memory, and for taggers the encoder alone.
    """
    unknown = set(task or ()) - set(TASKS)
    if unknown:
        msg.fail(f"Unknown tasks: {', '.join(unknown)}", f"Known: {', '.join(TASKS)}", exits=1)
    names = task or [name for name in TASKS if TASKS[name].texts]
    corpus_of = {name: corpora / next(iter(TASKS[name].corpora)) for name in names}
    for name in names:
        corpus = corpus_of[name]
        for path in [*TASKS[name].texts, corpus / "train.spacy", corpus / "test.spacy"]:
            if not path.exists():
                hint = "Run `spacy project run fetch` and `convert`."
                msg.fail(f"There is no {path}", hint, exits=1)
    for name in names:
        msg.divider(TASKS[name].title)
        speed = measure(name, corpus_of[name], repeats, calls, words, limit)
        if name == "tagger":
            lengths = read_lengths(corpus_of[name] / "test.spacy")[: limit or None]
            speed["encoder"] = time_encoders(lengths, rounds)
        path = save_speed(speed, results)
        msg.good(f"Stored in {path.name}")


def measure(
    task: str, corpus: Path, repeats: int, calls: int, words: int, limit: int
) -> dict[str, Any]:
    """Measure all systems of a task.

    task (str): The name of the task.
    corpus (Path): The directory with train.spacy and test.spacy.
    repeats (int): How many times to measure.
    calls (int): The same for the latency.
    words (int): How many words to train on in each repeat.
    limit (int): How many texts to take. 0 for all.
    RETURNS (dict[str, Any]): The measurements. Speeds are words per second.
    """
    commit, dirty = get_commit()
    result = {
        "task": task,
        "commit": commit,
        "dirty": dirty,
        "date": now(),
        "machine": get_machine(),
        "versions": get_versions(),
    }
    files = list(TASKS[task].texts)
    texts = read_texts(files)[: limit or None]
    data = read_training_data(corpus / "train.spacy", words, TASKS[task].get_labels)
    pipelines: dict[str, Language] = {}
    for name in select_available(get_systems(task, timed=True)):
        msg.text(f"Initialising {name}")
        pipelines[name] = build_pipeline(
            name, data.labels, lambda nlp: data.make_examples(nlp)[:INIT_EXAMPLES]
        )
    training = time_training(pipelines, data, repeats)
    with tempfile.TemporaryDirectory() as directory:
        # With random weights recognisers would find entities everywhere. What was loaded has not
        # seen any text.
        paths = {name: Path(directory) / name for name in pipelines}
        for name, nlp in pipelines.items():
            nlp.to_disk(paths[name])
        pipelines = {name: spacy.load(path) for name, path in paths.items()}
        inference, tokenizer = time_inference(pipelines, texts, repeats)
        best = {name: value["best_batch_size"] for name, value in inference.items()}
        memory = measure_memory(paths, best, files, limit)
    tokenizer_of_all = spacy.blank("en").tokenizer
    short = [text for text in texts if len(tokenizer_of_all(text)) == LATENCY_TOKENS]
    latency = time_latency(pipelines, short or make_new_texts(BLOCK), calls)
    latency_new = time_latency(pipelines, make_new_texts(calls + 2 * BLOCK), calls)
    return {
        **result,
        "settings": {
            "repeats": repeats,
            "calls": calls,
            "texts": len(texts),
            "training_words": data.words,
        },
        "tokenizer": tokenizer,
        "systems": {
            name: {
                "inference": inference[name],
                "training": training[name],
                "latency_ms": latency[name],
                "latency_new_ms": latency_new[name],
                "memory_mb": memory[name],
            }
            for name in pipelines
        },
    }


if __name__ == "__main__":
    app()
