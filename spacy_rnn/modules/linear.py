"""Linear layers in prediction, on the compiled kernels."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from .. import kernels
from ..kernels._kernels import Layer
from ..kernels.layout import lay_out_linear
from .weights import Weights
from .workers import count_parts, run_tasks


def predict_linear(
    weights: Weights, weight: str, bias: str | None, X: np.ndarray, *, int8: bool = False
) -> np.ndarray:
    """Run a linear layer. The output for a row is the same to the bit in every batch.

    weights (Weights): Its parameters, among others.
    weight (str): The name of its weights. (nO, nI)
    bias (Optional[str]): The name of its bias, if it has one. (nO,)
    X (ndarray): The input. float32, (N, nI)
    int8 (bool): Whether to round factors of products to 8-bit integers.
    RETURNS (ndarray): The output, in rows that may be a stride apart. (N, nO)
    """
    layer = get_linear(weights, weight, bias, int8=int8)
    (out,) = project([layer], np.ascontiguousarray(X))
    return out[:, : layer.hidden]


def get_linear(weights: Weights, weight: str, bias: str | None, *, int8: bool = False) -> Layer:
    """RETURNS (Layer): A linear layer, laid out for the kernels: see `predict_linear`."""
    factors = "int8" if int8 and kernels.HAS_INT8 else "float32"

    def lay_out() -> Layer:
        W = weights[weight]
        zeros = np.zeros(len(W), dtype=np.float32)
        return lay_out_linear(W, zeros if bias is None else weights[bias], factors)

    return weights.cached((weight, factors), lay_out)


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
