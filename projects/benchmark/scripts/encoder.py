"""Time the encoder alone, as a share of the machine's peak: its fastest matrix product."""

import gc
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy
import torch
from pipelines import get_component, get_config
from spacy.util import registry
from systems import SYSTEMS, get_systems
from timing import summarize
from torch import nn
from torch.nn.utils import rnn
from wasabi import msg

GEMM_SIZE = 2048
INPUT_WIDTHS = (128, 256)
GATES = {"lstm": 4, "gru": 3, "elman": 1, "irnn": 1}
ListT = list[numpy.ndarray]


def count_flops(cell: str, depth: int, width: int, input_width: int) -> int:
    """Count the floating point operations that a bidirectional encoder needs for one token: those
    of the matrix products, 2 for each weight, and nothing else.

    cell (str): The kind of cell.
    depth (int): The number of layers.
    width (int): The output width, of both directions together.
    input_width (int): The input width.
    RETURNS (int): The operations.
    """
    hidden = width // 2
    inputs = [input_width, *[width] * (depth - 1)]
    return sum(2 * 2 * GATES[cell] * hidden * (hidden + nI) for nI in inputs)


def time_encoders(lengths: list[int], rounds: int) -> dict[str, Any]:
    """Time our encoders, and torch's LSTM of the same size, in single precision.

    lengths (list[int]): The lengths of the sentences, all of them one batch.
    rounds (int): How many times to measure. Right before and after each measurement the
        matrix product is measured too.
    RETURNS (dict[str, Any]): The "peak" in GFLOP/s, the best that the matrix product reached; and
        the "encoders", each with its "gflops", of which the "share" is the median's of that peak,
        and "share_of_neighbours" the median of shares of the products right before and after.
    """
    n_words = sum(lengths)
    tasks = {}
    for input_width in INPUT_WIDTHS:
        Xs = make_input(lengths, input_width)
        for title, flops, encode in make_encoders(Xs, input_width):
            encode(Xs)
            tasks[title, input_width] = (n_words * flops / 1e9, encode, Xs)
    gemms: list[float] = []
    gflops: dict[Any, list[float]] = {key: [] for key in tasks}
    shares: dict[Any, list[float]] = {key: [] for key in tasks}
    for i in range(rounds):
        for key, (work, encode, Xs) in tasks.items():
            gc.collect()
            before = time_gemm()
            start = time.perf_counter()
            encode(Xs)
            gflops[key].append(work / (time.perf_counter() - start))
            after = time_gemm()
            gemms += [before, after]
            shares[key].append(gflops[key][-1] / max(before, after))
        msg.text(f"Encoder: {i + 1} of {rounds}")
    peak = max(gemms)
    encoders = []
    for (title, input_width), values in gflops.items():
        summary = summarize(values)
        encoders.append(
            {
                "title": title,
                "input_width": input_width,
                "flops_per_word": round(1e9 * tasks[title, input_width][0] / n_words),
                "gflops": summary,
                "words_per_second": round(
                    summary["median"] * n_words / tasks[title, input_width][0]
                ),
                "share": round(summary["median"] / peak, 3),
                "share_of_neighbours": summarize(shares[title, input_width], 3)["median"],
            }
        )
    return {
        "peak": round(peak, 1),
        "gemm": summarize(gemms),
        "sentences": len(lengths),
        "words": n_words,
        "longest": max(lengths),
        "encoders": encoders,
    }


def make_input(lengths: list[int], width: int) -> ListT:
    """Make random vectors, one for each word."""
    flat = numpy.random.default_rng(0).standard_normal((sum(lengths), width), dtype="float32")
    return numpy.split(flat, numpy.cumsum(lengths)[:-1])


def make_encoders(Xs: ListT, input_width: int) -> list[tuple[str, int, Callable[[ListT], ListT]]]:
    """Make our encoders as the taggers have them, but in single precision, and torch's LSTM padded
    and packed.

    Xs (ListT): Input, to initialise them with.
    input_width (int): Its width.
    RETURNS (list[tuple[str, int, Callable]]): Title, FLOPs a word, and what encodes a batch.
    """
    encoders = []
    for name in get_systems("tagger", timed=True):
        if not SYSTEMS[name].is_ours or SYSTEMS[name].has_bilm:
            continue
        config = get_config(name)
        settings = config["components"][get_component(config)]["model"]["tok2vec"]["encode"]
        if "cell" not in settings:
            continue
        layer = registry.resolve({"encode": {**settings, "int8": False}})["encode"]
        layer.initialize(X=Xs)
        flops = count_flops(settings["cell"], settings["depth"], settings["width"], input_width)
        encoders.append((SYSTEMS[name].title, flops, layer.predict))
    lstm = nn.LSTM(input_width, 128, num_layers=2, bidirectional=True).eval()
    flops = count_flops("lstm", 2, 256, input_width)
    encoders.append(("torch.nn.LSTM 2x128, padded", flops, lambda Xs: run_padded(lstm, Xs)))
    encoders.append(("torch.nn.LSTM 2x128, packed", flops, lambda Xs: run_packed(lstm, Xs)))
    return encoders


@torch.inference_mode()
def run_padded(lstm: nn.LSTM, Xs: ListT) -> ListT:
    """Pad to the longest sentence. The backward direction reads the padding: not what is asked
    for, but the fastest way to run torch's LSTM where all sentences are one batch.
    """
    Y, _ = lstm(rnn.pad_sequence([torch.from_numpy(X) for X in Xs]))
    return [Y[: len(X), i].numpy() for i, X in enumerate(Xs)]


@torch.inference_mode()
def run_packed(lstm: nn.LSTM, Xs: ListT) -> ListT:
    """Pack the sentences."""
    packed, _ = lstm(rnn.pack_sequence([torch.from_numpy(X) for X in Xs], enforce_sorted=False))
    Y, _ = rnn.pad_packed_sequence(packed)
    return [Y[: len(X), i].numpy() for i, X in enumerate(Xs)]


@torch.inference_mode()
def time_gemm() -> float:
    """Get the GFLOP/s of a product of two square matrices in single precision, the best of two."""
    A, B, C = make_matrices()
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        torch.mm(A, B, out=C)
        seconds.append(time.perf_counter() - start)
    return 2 * GEMM_SIZE**3 / min(seconds) / 1e9


@cache
def make_matrices() -> tuple[torch.Tensor, ...]:
    """Make the random matrices whose product is the peak that the encoders are held against."""
    return tuple(torch.randn(GEMM_SIZE, GEMM_SIZE) for _ in range(3))
