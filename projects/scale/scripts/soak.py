"""Send texts with ever new words through a pipeline, and check that memory and speed stay."""

import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

import spacy
import typer
from texts import make_new_words, read_texts
from wasabi import msg

CHUNK = 5_000
# Allowed growth of memory after the first tenth: the larger of the two
MAX_GROWTH_SHARE = 0.03
MAX_GROWTH_MB = 10
# Allowed loss of speed, from the second tenth to the last
MAX_LOSS = 0.05
N_LINES = 20

app = typer.Typer(add_completion=False)


class Sample(NamedTuple):
    """One of the `N_LINES` parts of a run.

    memory (float): Resident memory at its end, in megabytes.
    words (int): Number of words.
    wall, cpu (float): Seconds, making the texts excluded.
    """

    memory: float
    words: int
    wall: float
    cpu: float


@app.command()
def soak_cli(
    pipeline: Annotated[str, typer.Argument(help="Trained pipeline")],
    source: Annotated[Path, typer.Argument(help="Texts: .spacy, .conllu or .txt, one a line")],
    n_texts: Annotated[int, typer.Option("--texts", help="Number of texts")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Seed of the new words")] = 0,
) -> None:
    """Print memory and words per second. Exits with 1 if memory grows or speed drops."""
    nlp = spacy.load(pipeline)
    msg.info(f"{n_texts:,} texts through {', '.join(nlp.pipe_names)}")
    print("   %     MB  words/s  words/s of CPU time", flush=True)
    stream = make_new_words(read_texts(source), n_texts, seed)
    samples = []
    for i in range(N_LINES):
        share = n_texts * (i + 1) // N_LINES - n_texts * i // N_LINES
        sample = run_part(nlp, islice(stream, share))
        samples.append(sample)
        speeds = f"{sample.words / sample.wall:8,.0f} {sample.words / sample.cpu:20,.0f}"
        print(f"{100 * (i + 1) // N_LINES:4} {sample.memory:6.1f} {speeds}", flush=True)
    problems = find_problems(samples)
    if problems:
        msg.fail("The pipeline does not last", "\n".join(problems), exits=1)
    msg.good("Memory is flat after the first tenth, and speed stays")


def run_part(nlp: spacy.language.Language, texts: Iterator[str]) -> Sample:
    """Annotate texts, each chunk in its own memory zone."""
    words, wall, cpu = 0, 0.0, 0.0
    while chunk := list(islice(texts, CHUNK)):
        start = time.perf_counter(), time.process_time()
        with nlp.memory_zone():
            words += sum(len(doc) for doc in nlp.pipe(chunk))
        wall += time.perf_counter() - start[0]
        cpu += time.process_time() - start[1]
    return Sample(get_memory(), words, wall, cpu)


def find_problems(samples: list[Sample]) -> list[str]:
    """Hold a run against the bounds.

    samples (List[Sample]): A run, in parts of the same size.
    RETURNS (List[str]): What is out of bounds.
    """
    tenth = len(samples) // 10
    problems = []
    base = samples[tenth - 1].memory
    growth = max(sample.memory for sample in samples[tenth:]) - base
    limit = max(MAX_GROWTH_SHARE * base, MAX_GROWTH_MB)
    print(f"Memory after the first tenth: {base:.1f} MB, then up to {growth:+.1f} MB")
    if growth > limit:
        problems.append(f"Memory grew by {growth:.1f} MB, more than {limit:.1f} MB.")
    changes = [
        get_change(samples[tenth : 2 * tenth], samples[-tenth:], by) for by in ("wall", "cpu")
    ]
    print(
        "Speed of the last tenth beside the second: {:+.1%}, by CPU time {:+.1%}".format(*changes)
    )
    # Other processes take wall time, and some CPU time through the caches: both have to drop.
    if max(changes) < -MAX_LOSS:
        problems.append(f"Speed dropped by {-max(changes):.1%}, more than {MAX_LOSS:.0%}.")
    return problems


def get_change(before: list[Sample], after: list[Sample], by: str) -> float:
    """RETURNS (float): The change in words per second, as a share."""
    speeds = [
        sum(sample.words for sample in part) / sum(getattr(sample, by) for sample in part)
        for part in (before, after)
    ]
    return speeds[1] / speeds[0] - 1


def get_memory() -> float:
    """RETURNS (float): The resident memory of this process in megabytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError as err:
        raise RuntimeError("The memory of a process can be read on Linux only.") from err
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    app()
