"""Prediction of a `CharCNN` on arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...kernels._kernels import Layer
from ...kernels.layout import lay_out_linear
from ..linear import project
from ..weights import Weights

# Windows of characters that are in memory at a time, with all their features.
MAX_WINDOWS = 2**13


def predict_chars(
    weights: Weights,
    settings: Mapping[str, Any],
    *,
    chars: np.ndarray,
    tokens: np.ndarray,
    **unused: Any,
) -> np.ndarray:
    """Embed the tokens of a batch, computing each distinct word once.

    weights (Weights): The parameters of a `CharCNN`.
    settings (Mapping[str, Any]): Its settings.
    chars, tokens: As in `CharCNN.forward`.
    RETURNS (ndarray): The embeddings. (N, width)
    """
    layers = weights.cached("layers", lambda: _lay_out(weights, settings))
    Y = np.empty((len(chars), settings["width"]), dtype=np.float32)
    n_words = max(1, MAX_WINDOWS // max(1, chars.shape[1]))
    for first in range(0, len(chars), n_words):
        features = _convolve(weights, settings, layers, chars[first : first + n_words])
        for i in range(settings["highway_layers"]):
            features = _pass_highway(layers[f"highways.{i}"], features)
        (projected,) = project([layers["project"]], features)
        Y[first : first + n_words] = projected[:, : Y.shape[1]]
    return Y[tokens]


def _lay_out(weights: Weights, settings: Mapping[str, Any]) -> dict[str, Layer]:
    names = {f"highways.{i}": f"highways.{i}.linear" for i in range(settings["highway_layers"])}
    names["project"] = "project"
    layers = {
        key: lay_out_linear(weights[f"{name}.weight"], weights[f"{name}.bias"])
        for key, name in names.items()
    }
    for i in range(len(settings["filters"])):
        # (filters, char_width, size): a window's embeddings follow each other.
        W = weights[f"convolutions.{i}.weight"].swapaxes(1, 2)
        bias = weights[f"convolutions.{i}.bias"]
        layers[f"convolutions.{i}"] = lay_out_linear(W.reshape(len(W), -1), bias)
    return layers


def _convolve(
    weights: Weights, settings: Mapping[str, Any], layers: Mapping[str, Layer], chars: np.ndarray
) -> np.ndarray:
    """Convolve characters and pool over time: (words, chars) to (words, filters). A word has as
    many windows as characters, whatever the padding.
    """
    longest = max(size for size, _ in settings["filters"])
    padded = np.pad(chars, ((0, 0), (0, longest - 1)))
    n_windows = np.maximum((chars != 0).sum(axis=1), 1)
    starts = np.cumsum(n_windows) - n_windows
    words = np.repeat(np.arange(len(chars)), n_windows)
    begins = np.arange(len(words)) - starts[words]
    table, parts = weights["chars.weight"], []
    for i, (size, n_filters) in enumerate(settings["filters"]):
        rows = padded[words[:, None], begins[:, None] + np.arange(size)]
        (Y,) = project([layers[f"convolutions.{i}"]], table[rows].reshape(len(rows), -1))
        parts.append(np.maximum.reduceat(Y[:, :n_filters], starts, axis=0))
    return np.maximum(np.concatenate(parts, axis=1), 0)


def _pass_highway(layer: Layer, X: np.ndarray) -> np.ndarray:
    """(words, filters) to (words, filters)"""
    width = X.shape[1]
    (Y,) = project([layer], X)
    transformed = np.maximum(Y[:, :width], 0)
    # The logistic function, by the hyperbolic tangent, which can't overflow.
    gate = 0.5 * np.tanh(0.5 * Y[:, width : 2 * width]) + 0.5
    return X + gate * (transformed - X)
