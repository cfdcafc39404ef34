"""Measure how fast the systems are, all of them in one run, and store it."""

from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from data import read_lengths, read_texts, read_training_data
from encoder import time_encoders
from results import RESULTS, get_commit, get_machine, get_versions, now, save_speed
from spacy.language import Language
from systems import TIMED, build_pipeline
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
    assets: Annotated[Path, typer.Argument(help="Directory with dev.conllu and test.conllu")],
    corpus: Annotated[Path, typer.Argument(help="Directory with train.spacy and test.spacy")],
    repeats: Annotated[int, typer.Option(help="How many times to measure")] = 5,
    rounds: Annotated[int, typer.Option(help="The same for the encoder alone")] = 9,
    calls: Annotated[int, typer.Option(help="The same for the latency")] = 200,
    words: Annotated[int, typer.Option(help="How many words to train on in a repeat")] = 15_000,
    limit: Annotated[int, typer.Option(help="How many texts to take, 0 for all")] = 0,
    results: Annotated[Path, typer.Option(help="Directory of results")] = RESULTS,
) -> None:
    """Measure words per second of inference and training, the latency of texts with 20 tokens,
    the peak of the memory, and the encoder alone.
    """
    files = [assets / "dev.conllu", assets / "test.conllu"]
    for path in [*files, corpus / "train.spacy", corpus / "test.spacy"]:
        if not path.exists():
            msg.fail(f"There is no {path}", "Run `spacy project assets .` and `convert`.", exits=1)
    speed = measure(
        files, corpus, repeats=repeats, rounds=rounds, calls=calls, words=words, limit=limit
    )
    path = save_speed(speed, results)
    msg.good(f"Stored in {path.name}")


def measure(
    files: list[Path],
    corpus: Path,
    *,
    repeats: int,
    rounds: int,
    calls: int,
    words: int,
    limit: int,
) -> dict[str, Any]:
    """Measure all systems.

    files (list[Path]): The CoNLL-U files with the texts for inference.
    corpus (Path): The directory with train.spacy and test.spacy.
    repeats (int): How many times to measure.
    rounds (int): The same for the encoder alone.
    calls (int): The same for the latency.
    words (int): How many words to train on in each repeat.
    limit (int): How many texts and sentences to take. 0 for all.
    RETURNS (dict[str, Any]): The measurements. Speeds are words per second.
    """
    commit, dirty = get_commit()
    result = {
        "commit": commit,
        "dirty": dirty,
        "date": now(),
        "machine": get_machine(),
        "versions": get_versions(),
    }
    texts = read_texts(files)[: limit or None]
    data = read_training_data(corpus / "train.spacy", words)
    pipelines: dict[str, Language] = {}
    for name in TIMED:
        msg.text(f"Initialising {name}")
        pipelines[name] = build_pipeline(
            name, data.labels, lambda nlp: data.make_examples(nlp)[:INIT_EXAMPLES]
        )

    inference, tokenizer = time_inference(pipelines, texts, repeats)
    tokenizer_of_all = spacy.blank("en").tokenizer
    short = [text for text in texts if len(tokenizer_of_all(text)) == LATENCY_TOKENS]
    latency = time_latency(pipelines, short or make_new_texts(BLOCK), calls)
    latency_new = time_latency(pipelines, make_new_texts(calls + 2 * BLOCK), calls)
    best = {name: value["best_batch_size"] for name, value in inference.items()}
    memory = measure_memory(pipelines, best, files, limit)
    training = time_training(pipelines, data, repeats)
    encoder = time_encoders(read_lengths(corpus / "test.spacy")[: limit or None], rounds)
    return {
        **result,
        "settings": {
            "repeats": repeats,
            "rounds": rounds,
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
        "encoder": encoder,
    }


if __name__ == "__main__":
    app()
