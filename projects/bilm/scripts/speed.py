"""Measure how fast a language model is pretrained, in words a second and beside what the machine
can multiply.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import srsly
import torch
import typer
from spacy.util import load_config
from wasabi import msg

from spacy_rnn.pretraining.batches import LMBatch
from spacy_rnn.pretraining.find_model import load_pipeline
from spacy_rnn.pretraining.loop import Pretraining
from spacy_rnn.pretraining.pretrained_config import find_component
from spacy_rnn.pretraining.processes import Processes
from spacy_rnn.pretraining.progress import Progress
from spacy_rnn.pretraining.settings import LMSettings

BILM_CONFIG = Path(__file__).resolve().parents[3] / "configs" / "bilm.cfg"
# Sides of the matrices whose product is taken for the peak
ROWS, SIDE = 4096, 1024


def main(
    texts: Annotated[Path, typer.Argument(help="Text file or directory with such files")],
    config_path: Annotated[Path, typer.Option("--config", help="Pretraining config")] = BILM_CONFIG,
    steps: Annotated[int, typer.Option(help="Updates that are timed")] = 20,
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures")] = None,
) -> None:
    """Measure, in single and in half precision."""
    figures = {}
    for name, is_half in (("float32", False), ("bfloat16", True)):
        peak = measure_peak(torch.bfloat16 if is_half else torch.float32)
        words, work = measure(config_path, texts, steps, is_half=is_half)
        figures[name] = {
            "words_per_second": round(words),
            "gflops": round(work / 1e9),
            "peak_gflops": round(peak / 1e9),
            "share_of_peak": round(work / peak, 3),
        }
        msg.text(f"{name}: {figures[name]}")
    if output is not None:
        srsly.write_json(output, figures)


def measure_peak(dtype: torch.dtype) -> float:
    """RETURNS (float): Operations a second of a large product, the median of several."""
    A, B = torch.randn(ROWS, SIDE).to(dtype), torch.randn(SIDE, SIDE).to(dtype)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        torch.mm(A, B)
        seconds.append(time.perf_counter() - start)
    return 2 * ROWS * SIDE * SIDE / statistics.median(seconds)


def measure(config_path: Path, texts: Path, steps: int, *, is_half: bool) -> tuple[float, float]:
    """RETURNS (tuple[float, float]): Words that each direction reads, and operations, a second."""
    changes = {
        "paths.train": str(texts),
        "paths.dev": str(texts),
        "lm_pretraining.mixed_precision": is_half,
        "lm_pretraining.n_process": 0,
    }
    config = load_config(config_path, overrides=changes, interpolate=False)
    settings = LMSettings.from_config(dict(config.interpolate()["lm_pretraining"]))
    nlp = load_pipeline(config)
    with tempfile.TemporaryDirectory() as directory:
        run = Pretraining(
            nlp,
            nlp.get_pipe(find_component(nlp.config)).model,
            settings,
            Path(directory),
            Progress(silent=True),
            Processes(torch.device("cpu")),
        )
        batches = run.get_batches()
        seconds, work = [], []
        for i in range(steps + 3):
            start = time.perf_counter()
            batch = next(batches)
            run.update(batch)
            if i >= 3:
                seconds.append(time.perf_counter() - start)
                work.append(count_operations(run, batch))
    per_step = statistics.median(seconds)
    return settings.n_rows * settings.n_steps / per_step, statistics.mean(work) / per_step


def count_operations(run: Pretraining, batch: LMBatch) -> int:
    """Count the multiplications and additions of an update's matrix products: those of the layers
    and the softmax, forwards, and twice as many backwards. The embedding's do not count.
    """
    stack, softmax = run.state.lm.stack, run.state.lm.softmax.softmax
    n_read = batch.inputs.size
    hidden = stack.layers[0].hidden_size
    total = sum(8 * hidden * (layer.input_size + hidden) for layer in stack.layers) * n_read
    total += 2 * softmax.head.weight.numel() * n_read
    for i, (project, scores) in enumerate(softmax.tail):
        low, high = softmax.cutoffs[i], softmax.cutoffs[i + 1]
        n_words = int(((batch.targets >= low) & (batch.targets < high)).sum())
        total += 2 * (project.weight.numel() + scores.weight.numel()) * n_words
    return 3 * total


if __name__ == "__main__":
    typer.run(main)
