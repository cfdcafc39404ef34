"""Prediction of trees, labels and probabilities from tokens' states, on a CPU."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ... import kernels
from ..weights import Weights
from . import scores, trees
from .biaffine import Widths, find_head_rows
from .probabilities import find_probabilities

# The most scores of arcs in memory at a time, unless one sentence has more.
MAX_SCORES = 2**21


def predict_trees(
    X: np.ndarray, weights: Weights, widths: Widths, lengths: np.ndarray, *, int8: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the best tree of each sentence, the best label of each arc, and the arc's probability.

    X (ndarray): The states. float32, (N, widths.total)
    weights (Weights): The parameters.
    widths (Widths): How states are divided.
    lengths (ndarray): The number of tokens of each sentence. (sentences,)
    int8 (bool): Whether compiled kernels round factors of linear layers to 8-bit integers.
    RETURNS (Tuple[ndarray, ndarray, ndarray]): The heads, as in `find_trees`, the numbers of the
        labels, and the probabilities. Each (N,)
    """
    score_all_arcs: Any = scores.score_all_arcs
    find_labels: Any = scores.find_labels
    find_trees: Any = trees.find_trees
    if kernels.INSTRUCTIONS is not None:
        from . import compiled

        score_all_arcs = partial(compiled.score_all_arcs, int8=int8)
        find_labels = partial(compiled.find_labels, int8=int8)
        find_trees = compiled.find_trees
    heads, probabilities = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
    for rows, part in _divide(lengths):
        arcs = score_all_arcs(X[rows], weights, widths, part)
        heads.append(find_trees(arcs, part))
        probabilities.append(find_probabilities(arcs, part, heads[-1]))
    found = np.concatenate(heads)
    labels = find_labels(X, weights, widths, find_head_rows(lengths, found))
    return found, labels, np.concatenate(probabilities)


def _divide(lengths: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """YIELDS (Tuple[slice, ndarray]): The rows and the lengths of sentences with up to `MAX_SCORES`
    scores, but at least one.
    """
    start, n_scores, ends = 0, 0, np.cumsum(lengths).tolist()
    for i, added in enumerate((lengths * (lengths + 1)).tolist()):
        if i > start and n_scores + added > MAX_SCORES:
            yield slice(ends[start] - int(lengths[start]), ends[i - 1]), lengths[start:i]
            start, n_scores = i, 0
        n_scores += added
    if start < len(lengths):
        yield slice(ends[start] - int(lengths[start]), ends[-1]), lengths[start:]
