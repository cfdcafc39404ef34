"""Prediction of a `SelfAttentionEncoder` on arrays and compiled linear layers. The output for a
sequence is the same to the bit in every batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...kernels._kernels import Layer
from ...kernels.layout import lay_out_linear
from ..linear import normalise, project
from ..weights import Weights
from ..workers import count_parts, run_tasks
from .positions import count_positions, get_sinusoids, get_waves
from .windows import Groups, count_blocks, make_mask

# Sequences of so many tokens go through all layers while they are in the processor's cache.
MAX_TOKENS = 512


def predict_self_attention(
    weights: Weights,
    settings: Mapping[str, Any],
    X: np.ndarray,
    lengths: Sequence[int],
    *,
    attend: bool = False,
    **unused: Any,
) -> np.ndarray:
    """Encode a batch of sequences.

    weights (Weights): The parameters of a `SelfAttentionEncoder`.
    settings (Mapping[str, Any]): Its settings.
    X, lengths, attend: As in `SelfAttentionEncoder.forward`.
    RETURNS (ndarray): The output, (N, nO), or the attention weights, (depth, heads, N, N).
    """
    layers = weights.cached("layers", partial(_lay_out, weights))
    groups = Groups.from_lengths(lengths)
    places = count_positions(lengths)[groups.order]
    if attend:
        return _run(weights, layers, settings, X[groups.order], places, groups.sizes, attend=True)
    Y = np.empty((len(X), settings["nO"]), dtype=np.float32)

    def run(rows: slice, sizes: list[tuple[int, int]]) -> None:
        order = groups.order[rows]
        Y[order] = _run(weights, layers, settings, X[order], places[rows], sizes)

    n_weights = sum(array.size for array in weights.to_dict().values())
    tasks = [partial(run, *part) for part in groups.split(MAX_TOKENS)]
    run_tasks(tasks, in_threads=count_parts(len(X), n_weights) > 1)
    return Y


def _run(
    weights: Weights,
    layers: Mapping[str, Layer],
    settings: Mapping[str, Any],
    X: np.ndarray,
    places: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    *,
    attend: bool = False,
) -> np.ndarray:
    """Run all layers over groups of sequences, with the return value of `predict_self_attention`.

    layers (Mapping[str, Layer]): The linear layers by name.
    X (ndarray): The tokens in the order of groups. (N, nI)
    places (ndarray): The position of each in its sequence. (N,)
    sizes (Sequence[Tuple[int, int]]): As in `Groups`.
    """
    linear = partial(_run_linear, layers)
    heads, window, width = (settings[name] for name in ("heads", "window", "nO"))
    X = linear("input", X)
    waves: tuple[np.ndarray, ...] = ()
    if settings["positions"] == "sinusoidal":
        X += get_sinusoids(places, width)
    else:
        waves = get_waves(places, width // heads)
    kept = []
    for i in range(settings["depth"]):
        layer = f"layers.{i}"
        normal = _normalise(weights, f"{layer}.attention_norm", X)
        Q, K, V = (
            linear(f"{layer}.{name}", normal).reshape(len(X), heads, -1)
            for name in ("query", "key", "value")
        )
        if waves:
            Q, K = _rotate(Q, *waves), _rotate(K, *waves)
        Q *= np.float32(Q.shape[2] ** -0.5)
        if attend:
            kept.append(_get_weights(Q, K, window))
        Y = np.empty_like(Q)
        _attend(Q, K, V, Y, sizes, window)
        X += linear(f"{layer}.output", Y.reshape(len(X), -1))
        _feed_forward(weights, layers, layer, X)
    return np.stack(kept) if attend else _normalise(weights, "norm", X)


def _lay_out(weights: Weights) -> dict[str, Layer]:
    """RETURNS (Dict[str, Layer]): The linear layers by name."""
    names = [name.removesuffix(".weight") for name in weights.to_dict() if name.endswith("weight")]
    return {
        name: lay_out_linear(weights[f"{name}.weight"], weights[f"{name}.bias"])
        for name in names
        if not name.endswith("norm")
    }


def _run_linear(layers: Mapping[str, Layer], name: str, X: np.ndarray) -> np.ndarray:
    (Y,) = project([layers[name]], X)
    return np.ascontiguousarray(Y[:, : layers[name].hidden])


def _normalise(weights: Weights, name: str, X: np.ndarray) -> np.ndarray:
    return normalise(X, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _rotate(X: np.ndarray, sines: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """The same as the torch module's. (N, heads, width)"""
    first, second = np.split(X, 2, axis=2)
    sines, cosines = sines[:, None], cosines[:, None]
    rotated = [first * cosines - second * sines, second * cosines + first * sines]
    return np.concatenate(rotated, axis=2)


def _feed_forward(weights: Weights, layers: Mapping[str, Layer], layer: str, X: np.ndarray) -> None:
    """Add the output of the feed-forward network to its input."""
    for i in range(0, len(X), MAX_TOKENS):
        rows = slice(i, i + MAX_TOKENS)
        normal = _normalise(weights, f"{layer}.hidden_norm", X[rows])
        hidden = _run_linear(layers, f"{layer}.hidden", normal)
        np.maximum(hidden, 0, out=hidden)
        X[rows] += _run_linear(layers, f"{layer}.shrink", hidden)


def _attend(
    Q: np.ndarray,
    K: np.ndarray,
    V: np.ndarray,
    Y: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    window: int,
) -> None:
    """Write the output of attention to Y. Each (N, heads, width)"""
    end, heads = 0, Q.shape[1]
    for n, length in sizes:
        begin, end = end, end + n * length
        q, k, v, y = (A[begin:end].reshape(n, length, heads, -1) for A in (Q, K, V, Y))
        if length > window:
            for i in range(n):
                _attend_in_blocks(q[i], k[i], v[i], y[i], window)
        else:
            _attend_to_all(q, k, v, y)


def _attend_to_all(q: np.ndarray, k: np.ndarray, v: np.ndarray, Y: np.ndarray) -> None:
    """Each (sequences, length, heads, width)"""
    q, k, v = (np.ascontiguousarray(A.transpose(0, 2, 1, 3)) for A in (q, k, v))
    weights = _softmax(np.matmul(q, k.swapaxes(2, 3)))
    Y[:] = np.matmul(weights, v).transpose(0, 2, 1, 3)


def _attend_in_blocks(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, Y: np.ndarray, window: int
) -> None:
    """Each (length, heads, width)"""
    length = len(q)
    for block, rows, keys in _iter_blocks(length, window):
        mask = make_mask(range(block, block + 1), length, window)[0]
        first = (block - 1) * window
        mask = mask[: rows.stop - rows.start, keys.start - first : keys.stop - first]
        some, near, values = (
            np.ascontiguousarray(A.transpose(1, 0, 2)) for A in (q[rows], k[keys], v[keys])
        )
        scores = np.matmul(some, near.swapaxes(1, 2))
        scores[:, ~mask] = -np.inf
        Y[rows] = np.matmul(_softmax(scores), values).transpose(1, 0, 2)


def _iter_blocks(length: int, window: int) -> Iterator[tuple[int, slice, slice]]:
    """YIELDS (Tuple[int, slice, slice]): Each block's number, its queries, and its keys."""
    for block in range(count_blocks(length, window)):
        begin = block * window
        yield (
            block,
            slice(begin, min(begin + window, length)),
            slice(max(begin - window, 0), min(begin + 2 * window, length)),
        )


def _get_weights(Q: np.ndarray, K: np.ndarray, window: int) -> np.ndarray:
    """RETURNS (ndarray): The attention weights in one sequence. (heads, N, N)"""
    scores = np.matmul(Q.transpose(1, 0, 2), K.transpose(1, 2, 0))
    places = np.arange(len(Q))
    scores[:, abs(places[:, None] - places) > window] = -np.inf
    return _softmax(scores)


def _softmax(scores: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): The softmax over the last axis, in the memory of the scores."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores
