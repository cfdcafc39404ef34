"""Scores of arcs and labels in prediction, by numpy."""

import numpy as np

from ..weights import Weights
from .biaffine import Widths, extend_heads, iterate_sentences, score_arcs

# The most numbers of tokens' states, mapped for all labels, in memory at a time.
MAX_MAPPED = 2**21


def score_all_arcs(
    X: np.ndarray, weights: Weights, widths: Widths, lengths: np.ndarray
) -> np.ndarray:
    """Score the arcs of sentences, not none.

    X (ndarray): The states. float32, (N, widths.total)
    weights (Weights): The parameters.
    widths (Widths): How states are divided.
    lengths (ndarray): The number of tokens of each sentence. (sentences,)
    RETURNS (ndarray): The scores, as `find_trees` takes them. (sum of n * (n + 1),)
    """
    dependents, heads, *_ = widths.split(X)
    mapped = dependents @ weights["arc_W"].T + weights["arc_b"]
    root = weights["root"][: widths.arc]
    sentences = iterate_sentences(lengths)
    return np.concatenate([score_arcs(np, mapped[i], heads[i], root).ravel() for i in sentences])


def find_labels(
    X: np.ndarray, weights: Weights, widths: Widths, head_rows: np.ndarray
) -> np.ndarray:
    """Find the best label of each token's arc.

    X (ndarray): The states. float32, (N, widths.total)
    weights (Weights): The parameters.
    widths (Widths): How states are divided.
    head_rows (ndarray): The row of each token's head, -1 for the root. (N,)
    RETURNS (ndarray): The numbers of the labels. (N,)
    """
    W, b = weights["label_W"], weights["label_b"]
    _, _, dependents, heads, _ = widths.split(X)
    heads = extend_heads(np, heads, weights["root"], widths)
    labels = np.empty(len(X), dtype=np.int64)
    step = max(MAX_MAPPED // len(b), 1)
    for i in range(0, len(X), step):
        rows = slice(i, i + step)
        mapped = (dependents[rows] @ W.T + b).reshape(-1, len(b) // heads.shape[1], heads.shape[1])
        scores = mapped @ heads[head_rows[rows], :, None]
        labels[rows] = scores[:, :, 0].argmax(axis=1)
    return labels
