"""Prediction of a language model's softmax on arrays. The result for a row is the same to the bit
in every batch.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ...kernels._kernels import Layer
from ...kernels.layout import lay_out_linear
from ..linear import project
from ..weights import Weights
from ..workers import count_parts, run_tasks

# Scores that are in memory at a time, in each thread. With fewer, the weights are read more often.
MAX_SCORES = 2**20


def predict_adaptive(
    weights: Weights, settings: Mapping[str, Any], H: np.ndarray, words: np.ndarray, **unused: Any
) -> np.ndarray:
    """Get the logarithm of the probability of a word for each hidden state.

    weights (Weights): The parameters of an `AdaptiveSoftmax`.
    settings (Mapping[str, Any]): Its settings.
    H (ndarray): The hidden states. float32, (N, width)
    words (ndarray): The words. (N,)
    RETURNS (ndarray): Natural logarithms. (N,)
    """
    bounds = [*settings["cutoffs"], settings["n_words"]]
    # The cluster of each word; 0 is the head, which has a label for each other cluster.
    clusters = np.searchsorted(bounds[:-1], words, side="right")
    labels = np.where(clusters, bounds[0] + clusters - 1, words)
    logs = _get_label_logs(_lay_out(weights, "softmax.head.weight"), H, labels)
    for i, begin in enumerate(bounds[:-1]):
        rows = np.flatnonzero(clusters == i + 1)
        if len(rows):
            narrow, output = (_lay_out(weights, f"softmax.tail.{i}.{j}.weight") for j in (0, 1))
            (X,) = project([narrow], H[rows])
            X = np.ascontiguousarray(X[:, : narrow.hidden])
            logs[rows] += _get_label_logs(output, X, words[rows] - begin)
    return logs


def predict_tied(
    weights: Weights,
    settings: Mapping[str, Any],
    H: np.ndarray,
    words: np.ndarray,
    table: np.ndarray,
    **unused: Any,
) -> np.ndarray:
    """Get the logarithm of the probability of a word for each hidden state.

    weights (Weights): The parameters of a `TiedSoftmax`.
    settings (Mapping[str, Any]): Its settings.
    H (ndarray): The hidden states. float32, (N, width)
    words (ndarray): The words. (N,)
    table (ndarray): The words' embeddings, which are laid out again for another array only.
        float32, (words, width)
    RETURNS (ndarray): Natural logarithms. (N,)
    """
    kept: dict[str, tuple[np.ndarray, Layer]] = weights.cached("layers", dict)
    found = kept.get("output")
    if found is None or found[0] is not table:
        found = kept["output"] = table, lay_out_linear(table, weights["bias"])
    return _get_label_logs(found[1], H, words)


def _lay_out(weights: Weights, name: str) -> Layer:
    def lay_out() -> Layer:
        W = weights[name]
        return lay_out_linear(W, np.zeros(len(W), dtype=np.float32))

    return weights.cached(name, lay_out)


def _get_label_logs(layer: Layer, X: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): The log-softmax of a linear layer's output at one label per row. (N,)"""
    X, logs = np.ascontiguousarray(X), np.empty(len(X), dtype=np.float32)
    n_parts = count_parts(len(X), layer.nI * layer.width)
    size = max(1, min(MAX_SCORES // layer.width, -(-len(X) // n_parts)))

    def run(rows: slice) -> None:
        (scores,) = project([layer], X[rows])
        scores = scores[:, : layer.hidden]
        scores -= scores.max(axis=1, keepdims=True)
        chosen = scores[np.arange(len(scores)), labels[rows]]
        logs[rows] = chosen - np.log(np.exp(scores, out=scores).sum(axis=1))

    tasks = [partial(run, slice(i, i + size)) for i in range(0, len(X), size)]
    run_tasks(tasks, in_threads=n_parts > 1)
    return logs
