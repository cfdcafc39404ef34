"""Time whole pipelines. Systems take turns in every repeat, so that what the machine does besides
strikes them alike.
"""

import gc
import json
import random
import statistics
import string
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import spacy
from data import TrainingData
from spacy.language import Language
from spacy.training import Example
from spacy.util import registry
from thinc.api import Adam, Optimizer
from wasabi import msg

BATCH_SIZES = (64, 256, 1024, 4096)
WARM_UP_STEPS = 3
DROPOUT = 0.4
LATENCY_TOKENS = 20
# How many calls a system makes before it is the next one's turn
BLOCK = 20


def take_turns(
    title: str, tasks: dict[Any, Callable[[], float]], repeats: int
) -> dict[Any, dict[str, Any]]:
    """Run each task once, all again, and so on.

    title (str): What is measured, for the progress.
    tasks (dict[Any, Callable[[], float]]): What to run, for each key. They return a measurement.
    repeats (int): How many times to run each.
    RETURNS (dict[Any, dict[str, Any]]): For each key, the "median" and all "runs".
    """
    runs: dict[Any, list[float]] = {key: [] for key in tasks}
    for i in range(repeats):
        start = time.perf_counter()
        for key, task in tasks.items():
            gc.collect()
            runs[key].append(task())
        msg.text(f"{title}: {i + 1} of {repeats}, {time.perf_counter() - start:.1f} seconds")
    return {key: summarize(values) for key, values in runs.items()}


def summarize(values: list[float], digits: int = 1) -> dict[str, Any]:
    """Get the median of measurements, and all of them."""
    median = round(statistics.median(values), digits)
    return {"median": median, "runs": [round(value, digits) for value in values]}


def time_inference(
    pipelines: dict[str, Language], texts: list[str], repeats: int
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Time the pipelines from text to annotation, at each of BATCH_SIZES.

    pipelines (dict[str, Language]): The systems.
    texts (list[str]): The texts.
    repeats (int): How many times to measure.
    RETURNS (tuple[dict, dict]): For each system the words per second at each batch size
        ("by_batch_size"), the "best_batch_size", what it reaches there ("best"), the share of that
        at batch size 64 ("share_at_64"), and what it reached when all was new to it, once
        ("first_pass"); and the number of "words" and the words per second of the tokenizer.
    """
    blank = spacy.blank("en")
    n_words = sum(len(doc) for doc in blank.pipe(texts))

    def run(nlp: Language, batch_size: int) -> float:
        start = time.perf_counter()
        for _ in nlp.pipe(texts, batch_size=batch_size):
            pass
        return n_words / (time.perf_counter() - start)

    first_pass = {}
    for name, nlp in pipelines.items():
        msg.text(f"Inference, first pass: {name}")
        first_pass[name] = round(run(nlp, BATCH_SIZES[1]), 1)
    tasks: dict[Any, Callable[[], float]] = {"tokenizer": partial(run, blank, BATCH_SIZES[2])}
    for size in BATCH_SIZES:
        for name, nlp in pipelines.items():
            tasks[name, size] = partial(run, nlp, size)
    values = take_turns("Inference", tasks, repeats)

    systems = {}
    for name in pipelines:
        by_size = {size: values[name, size] for size in BATCH_SIZES}
        best = max(by_size, key=lambda size: by_size[size]["median"])
        fastest = by_size[best]["median"]
        systems[name] = {
            "by_batch_size": {str(size): value for size, value in by_size.items()},
            "best_batch_size": best,
            "best": fastest,
            "first_pass": first_pass[name],
            "share_at_64": round(by_size[BATCH_SIZES[0]]["median"] / fastest, 3),
        }
    return systems, {"words": n_words, **values["tokenizer"]}


def time_training(
    pipelines: dict[str, Language], data: TrainingData, repeats: int
) -> dict[str, dict[str, Any]]:
    """Time whole training steps: the same batches, dropout and optimizer for all systems.

    pipelines (dict[str, Language]): The systems. Their weights change.
    data (TrainingData): What to train on in each repeat.
    repeats (int): How many times to measure.
    RETURNS (dict[str, dict[str, Any]]): Words per second of each system.
    """
    optimizers = {name: Adam(0.001, use_averages=True) for name in pipelines}

    def run(name: str, n_steps: int | None = None) -> float:
        nlp = pipelines[name]
        batches = make_batches(data.make_examples(nlp))[:n_steps]
        start = time.perf_counter()
        for batch in batches:
            update(nlp, batch, optimizers[name])
        seconds = time.perf_counter() - start
        return sum(len(eg) for batch in batches for eg in batch) / seconds

    for name in pipelines:
        msg.text(f"Training, warm-up: {name}")
        run(name, WARM_UP_STEPS)
    return take_turns("Training", {name: partial(run, name) for name in pipelines}, repeats)


def make_batches(examples: list[Example]) -> list[list[Example]]:
    """Make batches of about 1000 words."""
    batcher = registry.batchers.get("spacy.batch_by_words.v1")
    return list(batcher(size=1000, tolerance=0.2, discard_oversize=False)(examples))


def update(nlp: Language, batch: list[Example], optimizer: Optimizer) -> None:
    """Train one step as spaCy's training loop does."""
    nlp.update(batch, drop=DROPOUT, sgd=False, losses={})  # type: ignore[arg-type]
    for _, component in nlp.pipeline:
        component.finish_update(optimizer)  # type: ignore[attr-defined]
    optimizer.step_schedules()


def time_latency(
    pipelines: dict[str, Language], texts: list[str], calls: int = 200
) -> dict[str, float]:
    """Time calls with one text at a time.

    pipelines (dict[str, Language]): The systems.
    texts (list[str]): The texts, one after the other and all again.
    calls (int): How many calls to time for each system, after as many as in a block to warm up.
    RETURNS (dict[str, float]): Milliseconds for each system, the median.
    """
    times: dict[str, list[float]] = {name: [] for name in pipelines}
    for i in range(1 + -(-calls // BLOCK)):
        for name, nlp in pipelines.items():
            gc.collect()
            for k in range(i * BLOCK, (i + 1) * BLOCK):
                text = texts[k % len(texts)]
                start = time.perf_counter()
                nlp(text)
                times[name].append(1000 * (time.perf_counter() - start))
    msg.text(f"Latency: {calls} calls each")
    return {name: round(statistics.median(values[BLOCK:]), 3) for name, values in times.items()}


def make_new_texts(number: int) -> list[str]:
    """Make up texts of LATENCY_TOKENS words, of which no pipeline can have seen one before."""
    rng = random.Random(0)
    letters = string.ascii_lowercase
    words = [
        "".join(rng.choices(letters, k=rng.randint(6, 12))) for _ in range(number * LATENCY_TOKENS)
    ]
    return [" ".join(words[i : i + LATENCY_TOKENS]) for i in range(0, len(words), LATENCY_TOKENS)]


def measure_memory(
    pipelines: dict[str, Path], batch_sizes: dict[str, int], files: list[Path], limit: int
) -> dict[str, dict[str, float]]:
    """Run memory.py for each system: a fresh process that loads the pipeline and reads the texts.

    pipelines (dict[str, Path]): The directories of the systems.
    batch_sizes (dict[str, int]): The batch size of each.
    files (list[Path]): The files with the texts.
    limit (int): How many of the texts to take. 0 for all.
    RETURNS (dict[str, dict[str, float]]): For each system the "peak" and what it was after the
        "import" of spaCy, in megabytes.
    """
    result = {}
    script = Path(__file__).with_name("memory.py")
    for name, path in pipelines.items():
        command = [sys.executable, str(script), str(path), *map(str, files)]
        command += ["--batch-size", str(batch_sizes[name]), "--limit", str(limit)]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        result[name] = json.loads(run.stdout)
        msg.text(f"Memory: {name}, {result[name]['peak']:.0f} MB")
    return result
