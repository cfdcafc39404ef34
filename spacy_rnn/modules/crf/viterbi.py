"""The best sequences of tags of linear chains. See chain.py for scores and layout."""

from itertools import pairwise

import numpy as np

from ... import kernels
from ..step_major import StepMajor
from .transitions import MAX_SUMS, Transitions, split_after, split_before


def find_best(scores: np.ndarray, transitions: Transitions, layout: StepMajor) -> np.ndarray:
    """Find the sequence of tags with the highest score (Viterbi 1967), in single precision.

    scores, transitions, layout: As in `crf.log_partition`. The scores must be finite or minus
        infinity, and something must be allowed.
    RETURNS (ndarray): Each token's tag. (N,)
    """
    best = np.array(scores, dtype=np.float32, order="C")
    transitions = transitions.astype(np.float32)
    if kernels.INSTRUCTIONS is not None:
        from ...kernels._kernels import find_best_tags

        return find_best_tags(layout.starts, transitions.outer, transitions.inner, best)
    steps = list(pairwise(layout.starts.tolist()))
    before, lowest = 0, np.finfo(best.dtype).min
    for start, end in steps:
        current = best[start:end]
        if start:
            transitions.add_best(best[before : before + end - start], current)
        # Only differences matter, and sums that grow lose precision.
        current -= np.maximum(current.max(axis=1, keepdims=True), lowest)
        before = start
    tags = np.empty(len(scores), dtype=np.int64)
    all_tags = np.arange(scores.shape[1])
    after = tags[:0]
    for start, end in reversed(steps):
        current = best[start:end]
        current[: len(after)] += transitions.get(all_tags, after[:, None], -np.inf)
        after = tags[start:end]
        current.argmax(axis=1, out=after)
    return tags


def find_k_best(
    scores: np.ndarray, transitions: Transitions, layout: StepMajor, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k sequences of tags with the highest scores, best first.

    scores, transitions, layout: As in `find_best`.
    k (int): How many.
    RETURNS (Tuple[ndarray, ndarray]): The tags (k, N), and the scores of the sequences, longest
        sequence first: minus infinity where there are not as many. (k, sequences)
    """
    steps = list(pairwise(layout.starts.tolist()))
    n_tokens, n_tags = scores.shape
    transitions = transitions.astype(np.float64)
    best = np.full((n_tokens, k, n_tags), -np.inf)
    # Where in the row before, (k, n_tags), each comes from.
    origins = np.zeros((n_tokens, k, n_tags), dtype=np.int64)
    n_rows = max(1, MAX_SUMS // (transitions.outer.size * k))
    before = 0
    for start, end in steps:
        # Chunks of rows, as each has many sums.
        for i in range(start, end if start else 0, n_rows):
            rows = slice(i, min(i + n_rows, end))
            previous = best[before + i - start : before + rows.stop - start]
            best[rows], origins[rows] = _step_k_best(previous, transitions)
        if start:
            best[start:end] += scores[start:end, None]
        else:
            best[:end, 0] = scores[:end]
        before = start
    n_sequences = len(layout.ranking)
    last = layout.mirror[:n_sequences]
    totals, places = _find_highest(best[last].reshape(n_sequences, k * n_tags), k)
    tags = np.empty((k, n_tokens), dtype=np.int64)
    for start, end in reversed(steps):
        # A sequence that ends here begins at the place found above, the others go on.
        current = places[: end - start]
        tags[:, start:end] = current.T % n_tags
        current[:] = np.take_along_axis(origins[start:end].reshape(end - start, -1), current, 1)
    return tags, totals.T


def _step_k_best(before: np.ndarray, transitions: Transitions) -> tuple[np.ndarray, np.ndarray]:
    """From each tag's k best scores, (n, k, T), get the k best sums for each tag of the next token,
    without its own score, and where they come from. Both (n, k, T)
    """
    n_labels, (n, k, n_tags) = transitions.n_labels, before.shape
    after, origins = np.empty_like(before), np.empty(before.shape, dtype=np.int64)
    flat, to, origin = (x.reshape(n * k, n_tags) for x in (before, after, origins))
    # Views of both.
    to_tags, from_tags = split_after(to, n_labels), split_after(origin, n_labels)
    outer, *inner = split_before(flat, n_labels)
    size = outer.shape[1]
    # (n, k x tags before, tags after)
    options = (outer[:, :, None] + transitions.outer).reshape(n, k * size, size)
    values, index = _find_highest(options, k)
    to_tags[0][:] = values.reshape(n * k, size)
    from_tags[0][:] = (index // size * n_tags + 2 * n_labels + index % size).reshape(n * k, size)
    labels = np.arange(n_labels)
    for i, numbers in enumerate(transitions.inner):
        # (n, k x I and B, labels)
        options = np.stack([x + y for x, y in zip(inner, numbers, strict=True)], axis=1)
        values, index = _find_highest(options.reshape(n, 2 * k, n_labels), k)
        to_tags[1 + i][:] = values.reshape(n * k, n_labels)
        index = index // 2 * n_tags + index % 2 * n_labels + labels
        from_tags[1 + i][:] = index.reshape(n * k, n_labels)
    return after, origins


def _find_highest(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k highest values along the second axis, highest first, and their places there."""
    index = np.argpartition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k :]
    order = np.argsort(-np.take_along_axis(values, index, axis=1), axis=1)
    index = np.take_along_axis(index, order, axis=1)
    return np.take_along_axis(values, index, axis=1), index
