"""The probabilities of arcs, over all trees with one token below the root."""

from collections import defaultdict

import numpy as np

from .biaffine import iterate_sentences

# An arc is at least e to this times as probable as the best one, for a matrix that can be inverted.
LEAST_LOG = -30.0


def find_probabilities(scores: np.ndarray, lengths: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Compute the marginal probability of each token's arc, by the matrix-tree theorem (Koo et al.
    2007, "Structured Prediction Models via the Matrix-Tree Theorem").

    scores (ndarray): The scores of arcs, as in `find_trees`.
    lengths (ndarray): The number of tokens of each sentence. (sentences,)
    heads (ndarray): The head of each token: 0 for the root, i + 1 for token i. (N,)
    RETURNS (ndarray): The probabilities. (N,)
    """
    probabilities = np.empty(len(heads), dtype=np.float32)
    ends = np.cumsum(lengths * (lengths + 1))
    groups = defaultdict(list)
    for rows, end in zip(iterate_sentences(lengths), ends.tolist(), strict=True):
        groups[rows.stop - rows.start].append((rows, end))
    for n, group in groups.items():
        if n == 0:
            continue
        # Sentences of one length together: each is inverted by itself.
        parts = [scores[end - n * (n + 1) : end].reshape(n, n + 1) for _, end in group]
        found = _find_marginals(np.stack(parts), np.stack([heads[rows] for rows, _ in group]))
        for (rows, _), row in zip(group, found, strict=True):
            probabilities[rows] = row
    return probabilities


def _find_marginals(scores: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """(sentences, n, n + 1) and (sentences, n) to (sentences, n)"""
    n = scores.shape[1]
    token = np.arange(n)
    # Each token has one arc, so its scores' maximum changes nothing.
    weights = scores.astype(np.float64)
    weights[:, token, token + 1] = -np.inf
    with np.errstate(invalid="ignore"):
        weights -= weights.max(axis=2, keepdims=True)
    # In place: a long sentence has many.
    np.exp(np.fmax(weights, LEAST_LOG, out=weights), out=weights)
    weights[:, token, token + 1] = 0
    chosen = np.take_along_axis(weights, heads[:, :, None], axis=2)[:, :, 0]
    # Row i is for token i as a head, and the first row for the root in its place.
    laplacian = -weights[:, :, 1:].transpose(0, 2, 1)
    laplacian[:, token, token] = weights[:, :, 1:].sum(axis=2)
    laplacian[:, 0] = weights[:, :, 0]
    del weights
    inverse = np.linalg.inv(laplacian)
    own = inverse[:, token, token] * (token > 0)
    head = np.maximum(heads - 1, 0)
    other = np.take_along_axis(inverse, head[:, :, None], axis=2)[:, :, 0] * (head > 0)
    marginals = chosen * np.where(heads == 0, inverse[:, :, 0], own - other)
    return np.clip(np.nan_to_num(marginals), 0, 1).astype(np.float32)
