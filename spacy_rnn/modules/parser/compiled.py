"""The functions of `scores.py` and `trees.py`, on the compiled kernels."""

import numpy as np

from ...kernels._kernels import find_trees, score_arcs, score_labels
from ..linear import get_linear, predict_linear, project
from ..weights import Weights
from .biaffine import Widths, extend_heads

__all__ = ["find_labels", "find_trees", "score_all_arcs"]

# The most numbers of tokens' states, mapped for all labels, that stay in the processor's cache.
MAX_MAPPED = 2**18


def score_all_arcs(
    X: np.ndarray, weights: Weights, widths: Widths, lengths: np.ndarray, *, int8: bool
) -> np.ndarray:
    """The same as `scores.score_all_arcs`, to the bit in any batch."""
    dependents, heads, *_ = widths.split(X)
    mapped = predict_linear(weights, "arc_W", "arc_b", dependents, int8=int8)
    root = weights["root"][: widths.arc]
    return score_arcs(np.ascontiguousarray(mapped), heads, root, lengths)


def find_labels(
    X: np.ndarray, weights: Weights, widths: Widths, head_rows: np.ndarray, *, int8: bool
) -> np.ndarray:
    """The same as `scores.find_labels`, to the bit in any batch."""
    _, _, dependents, heads, _ = widths.split(X)
    heads = extend_heads(np, heads, weights["root"], widths)
    head_rows = head_rows % len(heads)
    n_mapped = len(weights["label_b"])
    layer = get_linear(weights, "label_W", "label_b", int8=int8)
    labels = np.empty(len(X), dtype=np.int64)
    step = max(MAX_MAPPED // n_mapped, 1)
    for i in range(0, len(X), step):
        rows = slice(i, i + step)
        (mapped,) = project([layer], np.ascontiguousarray(dependents[rows]))
        scores = score_labels(mapped, heads, head_rows[rows], n_mapped // heads.shape[1])
        labels[rows] = scores.argmax(axis=1)
    return labels
