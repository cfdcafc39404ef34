"""Linear layers in prediction, on the compiled kernels."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from ..kernels._kernels import Layer
from ..kernels.layout import lay_out_linear
from .workers import count_parts, run_tasks


def predict_linear(weight: np.ndarray, bias: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Run a linear layer. The output for a row is the same to the bit in every batch.

    weight (ndarray): The weights. float32, (nO, nI)
    bias (ndarray): The bias. float32, (nO,)
    X (ndarray): The input. float32, (N, nI)
    RETURNS (ndarray): The output. (N, nO)
    """
    (out,) = project([lay_out_linear(weight, bias)], np.ascontiguousarray(X))
    return np.ascontiguousarray(out[:, : len(weight)])


def normalise(X: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): The rows of an input after layer normalisation (Ba et al. 2016), as
    torch's `LayerNorm` computes it. (N, width)
    """
    X = X - X.mean(axis=1, keepdims=True)
    variance = np.square(X).mean(axis=1, keepdims=True)
    return X / np.sqrt(variance + np.float32(1e-5)) * weight + bias


def project(layers: Sequence[Layer], X: np.ndarray) -> list[np.ndarray]:
    """Multiply an input by the weights that each of some layers has for it, divided among threads.

    layers (Sequence[Layer]): The layers.
    X (ndarray): The input. (N, nI)
    RETURNS (List[ndarray]): The gates of each. (N, width)
    """
    n_parts = count_parts(len(X), X.shape[1] * sum(layer.width for layer in layers))
    tables = [np.empty((len(X), layer.width), dtype=np.float32) for layer in layers]
    bounds = [i * len(X) // n_parts for i in range(n_parts + 1)]
    run_tasks(
        [
            partial(layer.project, X[begin:end], table[begin:end])
            for layer, table in zip(layers, tables, strict=True)
            for begin, end in pairwise(bounds)
        ],
        in_threads=n_parts > 1,
    )
    return tables
