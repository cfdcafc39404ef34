"""Prediction of trees, labels and probabilities from tokens' states, on a CPU."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ... import kernels
from . import scores
from .biaffine import Widths, find_head_rows
from .probabilities import find_probabilities
from .trees import find_trees

# So many scores of arcs are held at a time, but for a longer sentence.
MAX_SCORES = 2**21


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
    choice: Any = scores
    if kernels.INSTRUCTIONS is not None:
        from . import compiled_scores

        choice = compiled_scores
    heads, probabilities = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
    for rows, part in _divide(lengths):
        arcs = choice.score_all_arcs(X[rows], params, widths, part)
        heads.append(find_trees(arcs, part))
        probabilities.append(find_probabilities(arcs, part, heads[-1]))
    trees = np.concatenate(heads)
    labels = choice.find_labels(X, params, widths, find_head_rows(lengths, trees))
    return trees, labels, np.concatenate(probabilities)


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
