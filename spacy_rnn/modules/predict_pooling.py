"""Prediction of a `Pooling` on arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..kernels._kernels import sum_rows
from .linear import predict_linear
from .weights import Weights


def predict_pooling(
    weights: Weights,
    settings: Mapping[str, Any],
    X: np.ndarray,
    lengths: Sequence[int],
    *,
    attend: bool = False,
    **unused: Any,
) -> np.ndarray:
    """Pool a batch of sequences.

    weights (Weights): The parameters of a `Pooling`.
    settings (Mapping[str, Any]): Its settings.
    X, lengths, attend: As in `Pooling.forward`. Not all sequences are empty.
    RETURNS (ndarray): A vector for each sequence, (sequences, nO), or the attention weights of each
        token, (N, heads).
    """
    segments = _Segments(lengths)
    if attend:
        return _attend(weights, X, segments)
    parts = []
    for kind in settings["kinds"]:
        if kind == "last":
            parts.append(segments.take_last(X, bidirectional=settings["bidirectional"]))
        elif kind == "mean":
            sizes = np.maximum(segments.sizes, 1)[:, None].astype(np.float32)
            parts.append(segments.sum(X) / sizes)
        elif kind == "max":
            parts.append(segments.max(X))
        else:
            attention = _attend(weights, X, segments)
            parts.extend(segments.sum(X * column[:, None]) for column in attention.T)
    return np.concatenate(parts, axis=1)


def _attend(weights: Weights, X: np.ndarray, segments: "_Segments") -> np.ndarray:
    for name in ("attention.0.weight", "attention.2.weight"):
        X = predict_linear(weights, name, None, X)
        if name == "attention.0.weight":
            X = np.tanh(X)
    powers = np.exp(X - segments.max(X)[segments.ids])
    normalised: np.ndarray = powers / segments.sum(powers)[segments.ids]
    return normalised


class _Segments:
    """Reductions over each sequence of a flat batch."""

    def __init__(self, lengths: Sequence[int]):
        self.sizes = np.asarray(lengths, dtype=np.int64)
        self.ends = np.cumsum(self.sizes)
        self.starts = self.ends - self.sizes
        # The number of each token's sequence.
        self.ids = np.repeat(np.arange(len(self.sizes)), self.sizes)

    def sum(self, X: np.ndarray) -> np.ndarray:
        """(N, width) to (sequences, width), zero for empty sequences."""
        return sum_rows(X, np.arange(len(X)), self.starts)

    def max(self, X: np.ndarray) -> np.ndarray:
        """(N, width) to (sequences, width), zero for empty sequences."""
        largest = np.zeros((len(self.sizes), X.shape[1]), dtype=X.dtype)
        # `reduceat` takes ten times as long for rows.
        for row, begin, end in zip(largest, self.starts.tolist(), self.ends.tolist(), strict=True):
            if begin < end:
                X[begin:end].max(axis=0, out=row)
        return largest

    def take_last(self, X: np.ndarray, *, bidirectional: bool) -> np.ndarray:
        """As the torch module does. (N, width) to (sequences, width)"""
        width = X.shape[1] // 2 if bidirectional else X.shape[1]
        last, first = np.maximum(self.ends - 1, 0), np.minimum(self.starts, len(X) - 1)
        taken = np.concatenate([X[last, :width], X[first, width:]], axis=1)
        taken[self.sizes == 0] = 0.0
        return taken
