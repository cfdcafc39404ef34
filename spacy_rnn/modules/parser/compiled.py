"""The functions of `scores.py` and `trees.py`, on the compiled kernels."""

from typing import Any

import numpy as np

from ...kernels._kernels import find_trees, score_arcs, score_labels
from ...kernels.layout import lay_out_linear
from ..linear import predict_linear, project
from .biaffine import Widths, extend_heads

__all__ = ["find_labels", "find_trees", "score_all_arcs"]

# The most numbers of tokens' states, mapped for all labels, that stay in the processor's cache.
MAX_MAPPED = 2**18


def score_all_arcs(
    X: np.ndarray, params: dict[str, Any], widths: Widths, lengths: np.ndarray
) -> np.ndarray:
    """The same as `scores.score_all_arcs`, to the bit in any batch."""
    dependents, heads, *_ = widths.split(X)
    mapped = predict_linear(params["arc_W"], params["arc_b"], dependents)
    return score_arcs(mapped, heads, params["root"][: widths.arc], lengths)


def find_labels(
    X: np.ndarray, params: dict[str, Any], widths: Widths, head_rows: np.ndarray
) -> np.ndarray:
    """The same as `scores.find_labels`, to the bit in any batch."""
    _, _, dependents, heads, _ = widths.split(X)
    heads = extend_heads(np, heads, params, widths)
    head_rows = head_rows % len(heads)
    n_mapped = len(params["label_b"])
    layer = lay_out_linear(params["label_W"], params["label_b"])
    labels = np.empty(len(X), dtype=np.int64)
    step = max(MAX_MAPPED // n_mapped, 1)
    for i in range(0, len(X), step):
        rows = slice(i, i + step)
        (mapped,) = project([layer], np.ascontiguousarray(dependents[rows]))
        scores = score_labels(mapped, heads, head_rows[rows], n_mapped // heads.shape[1])
        labels[rows] = scores.argmax(axis=1)
    return labels
