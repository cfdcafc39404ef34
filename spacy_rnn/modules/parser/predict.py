"""Prediction of trees, labels and probabilities from tokens' states, on a CPU."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ... import kernels
from ..linear import predict_linear
from .biaffine import Widths, extend_heads, find_head_rows, iterate_sentences, score_arcs
from .probabilities import find_probabilities
from .trees import find_trees

# So many scores of arcs are held at a time, but for a longer sentence.
MAX_SCORES = 2**21
# So many numbers of tokens' states, mapped for all labels.
MAX_MAPPED = 2**21


def predict_trees(
    X: np.ndarray, params: dict[str, np.ndarray], widths: Widths, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the best tree of each sentence, the best label of each arc, and the arc's probability.

    X (ndarray): The states. float32, (N, widths.total)
    params (Dict[str, ndarray]): The parameters.
    widths (Widths): How states are divided.
    lengths (ndarray): The number of tokens of each sentence. (sentences,)
    RETURNS (Tuple[ndarray, ndarray, ndarray]): The heads, as in `find_trees`, the numbers of the
        labels, and the probabilities. Each (N,)
    """
    dependents, heads, *_ = widths.split(X)
    mapped = _map(params, "arc", dependents)
    root = params["root"][: widths.arc]
    found, probabilities = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
    sentences = list(iterate_sentences(lengths))
    for part in _divide(lengths):
        flat = [score_arcs(np, mapped[i], heads[i], root).ravel() for i in sentences[part]]
        scores = np.concatenate(flat)
        found.append(find_trees(scores, lengths[part]))
        probabilities.append(find_probabilities(scores, lengths[part], found[-1]))
    trees = np.concatenate(found)
    labels = _find_labels(X, params, widths, find_head_rows(lengths, trees))
    return trees, labels, np.concatenate(probabilities)


def _divide(lengths: np.ndarray) -> Iterator[slice]:
    """YIELDS (slice): Sentences with up to `MAX_SCORES` scores, but at least one."""
    start, n_scores = 0, 0
    for i, added in enumerate((lengths * (lengths + 1)).tolist()):
        if i > start and n_scores + added > MAX_SCORES:
            yield slice(start, i)
            start, n_scores = i, 0
        n_scores += added
    if start < len(lengths):
        yield slice(start, len(lengths))


def _find_labels(
    X: np.ndarray, params: dict[str, Any], widths: Widths, head_rows: np.ndarray
) -> np.ndarray:
    _, _, dependents, heads, _ = widths.split(X)
    heads = extend_heads(np, heads, params, widths)
    labels = np.empty(len(X), dtype=np.int64)
    step = max(MAX_MAPPED // len(params["label_b"]), 1)
    for i in range(0, len(X), step):
        rows = slice(i, i + step)
        mapped = _map(params, "label", dependents[rows])
        mapped = mapped.reshape(len(mapped), -1, widths.label + 1)
        scores = mapped @ heads[head_rows[rows], :, None]
        labels[rows] = scores[:, :, 0].argmax(axis=1)
    return labels


def _map(params: dict[str, np.ndarray], kind: str, X: np.ndarray) -> np.ndarray:
    W, b = params[f"{kind}_W"], params[f"{kind}_b"]
    if kernels.INSTRUCTIONS is None:
        mapped: np.ndarray = X @ W.T + b
        return mapped
    return predict_linear(W, b, X)
