"""Prediction with stacks of recurrent layers on the compiled kernels. The output for a sequence
is the same to the bit in every batch.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...kernels._kernels import LANES, Layer, Sequences, find_distinct
from ...kernels.layout import lay_out_layer, lay_out_linear
from ..linear import normalise, project
from ..weights import Weights
from ..workers import run_tasks
from .cells import CELLS
from .divide import divide

# Inputs that repeat are projected once, if fewer than this share of them are distinct and what they
# are projected to takes no more bytes than this.
MAX_DISTINCT = 0.75
MAX_PROJECTED_BYTES = 40_000_000


def predict_encoder(
    weights: Weights,
    settings: Mapping[str, Any],
    X: np.ndarray,
    lengths: Sequence[int],
    *,
    int8: bool,
    **unused: Any,
) -> np.ndarray:
    """Run a stack whose layers read both directions of the layer below.

    weights (Weights): The parameters of an `EncoderStack`.
    settings (Mapping[str, Any]): Its settings.
    X (ndarray): The tokens of all sequences, one after another. float32, (N, nI)
    lengths (Sequence[int]): The number of tokens of each sequence.
    int8 (bool): Whether factors of products are rounded to 8-bit integers.
    RETURNS (ndarray): The last layer's hidden states. (N, nO)
    """
    layers = _get_layers(weights, settings, settings["bidirectional"], int8)
    inputs = np.ascontiguousarray(X)
    parts, in_threads = _divide(lengths, layers)
    tables, index = _project_distinct(layers[0], inputs)
    for i, directions in enumerate(layers):
        Y = np.empty((len(inputs), settings["nO"]), dtype=np.float32)
        tasks = []
        for part in parts:
            for k, direction in enumerate(directions):
                source = {"X": inputs} if i or not tables else {"gates": tables[k], "index": index}
                column = k * (Y.shape[1] // len(directions))
                tasks.append(partial(direction.forward, part, k == 1, Y, column, **source))
        run_tasks(tasks, in_threads=in_threads)
        if settings["residual"] and inputs.shape[1] == Y.shape[1]:
            Y += inputs
        if settings["layer_norm"]:
            Y = normalise(Y, weights[f"norms.{i}.weight"], weights[f"norms.{i}.bias"])
        inputs = Y
    return inputs


def predict_lm(
    weights: Weights,
    settings: Mapping[str, Any],
    X: np.ndarray,
    lengths: Sequence[int],
    *,
    int8: bool,
    with_boundary: bool = False,
) -> np.ndarray:
    """Run the layers of a language model. Each direction reads a boundary first, and then its own
    output only.

    weights (Weights): The parameters of an `LMStack`.
    settings (Mapping[str, Any]): Its settings.
    X (ndarray): The tokens of all sequences, one after another. float32, (N, width)
    lengths (Sequence[int]): The number of tokens of each sequence.
    int8 (bool): Whether factors of products are rounded to 8-bit integers.
    with_boundary (bool): Whether to append a row for the boundary that is read first.
    RETURNS (ndarray): The input, for each direction, and each layer's output.
        (N, depth + 1, directions x width), or (N + 1, ...) with the boundary.
    """
    width, n_directions = settings["width"], count_directions(settings)
    shape = len(X) + with_boundary, settings["depth"] + 1, n_directions, width
    rows = np.empty(shape, dtype=np.float32)
    rows[: len(X), 0] = X[:, None]
    at_boundary = run_lm(weights, settings, rows[: len(X)], lengths, int8=int8)
    if with_boundary:
        rows[len(X), 0] = weights["boundary"]
        rows[len(X), 1:] = at_boundary
    return rows.reshape(*shape[:2], n_directions * width)


def run_lm(
    weights: Weights,
    settings: Mapping[str, Any],
    tokens: np.ndarray,
    lengths: Sequence[int],
    *,
    int8: bool,
) -> np.ndarray:
    """Run the layers of a language model in place.

    weights, settings, lengths, int8: As in `predict_lm`.
    tokens (ndarray): The input, for each direction, and room for each layer's output. float32,
        (N, depth + 1, directions, width)
    RETURNS (ndarray): The outputs at the boundary that is read first. (depth, directions, width)
    """
    n_directions, width = tokens.shape[2:]
    layers = _get_layers(weights, settings, n_directions == 2, int8)
    units = width if settings["hidden"] is None else settings["hidden"]
    parts, in_threads = _divide(lengths, layers)
    inputs = np.ascontiguousarray(tokens[:, 0, 0])
    tables, index = _project_distinct(layers[0], inputs)
    Y = tokens.reshape(len(tokens), int(np.prod(tokens.shape[1:])))
    boundaries = [weights["boundary"]] * n_directions
    at_boundary: list[np.ndarray] = []
    chains: list[list[Any]] = [[] for _ in boundaries]
    for i, directions in enumerate(layers):
        residual = settings["residual"] and i > 0
        projections = _get_projections(weights, settings, i, int8)
        H = np.empty((len(Y), units * len(directions)), dtype=np.float32) if projections else Y
        for k, direction in enumerate(directions):
            boundary, state = _read_boundary(direction, boundaries[k])
            boundaries[k] = _finish(boundary, boundaries[k], projections[k : k + 1], residual)
            column = (i * len(directions) + k) * width
            source: dict[str, Any] = {"X": Y, "x_column": column}
            if tables and not i:
                source = {"gates": tables[k], "index": index}
            elif not projections:
                source["residual"] = residual
            to = k * units if projections else column + len(directions) * width
            chains[k].append(partial(direction.forward, Y=H, column=to, state=state, **source))
        at_boundary.append(np.concatenate(boundaries))
        if projections or i + 1 == len(layers):
            # Without projections, a part goes through all layers while it is in the cache.
            tasks = [
                partial(_run_chain, runs, part, k)
                for k, runs in enumerate(chains)
                for part in parts
            ]
            run_tasks(tasks, in_threads=in_threads)
            chains = [[] for _ in boundaries]
        for k, projection in enumerate(projections):
            h = np.ascontiguousarray(H[:, k * units : (k + 1) * units])
            tokens[:, i + 1, k] = _finish(h, tokens[:, i, k], [projection], residual)
    return np.stack(at_boundary)


def count_directions(settings: Mapping[str, Any]) -> int:
    """RETURNS (int): The number of directions of an `LMStack` with these settings."""
    return 2 if settings["directions"] == "both" else 1


def _run_chain(runs: Sequence[Any], part: Sequences, direction: int) -> None:
    for run in runs:
        run(part, direction == 1)


def _read_boundary(direction: Layer, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray]): The hidden state after one token, (1, units), and the
    state as the kernels take it, (1, 2 x units).
    """
    one = Sequences(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64))
    state = np.zeros((1, 2 * direction.units), dtype=np.float32)
    saved = np.empty((1, direction.saved_width), dtype=np.float32)
    direction.forward(one, False, state, 0, X=x, saved=saved)
    state[:, direction.units :] = get_last_saved(saved, direction)
    return state[:, : direction.hidden].copy(), state


def get_last_saved(saved: np.ndarray, layer: Layer) -> np.ndarray:
    """RETURNS (ndarray): The last saved number of each unit: an LSTM's cell state. (N, units)"""
    shape = layer.units // LANES, layer.saved_width // layer.units, LANES
    return saved.reshape(len(saved), *shape)[:, :, -1].reshape(len(saved), layer.units)


def _finish(h: np.ndarray, x: np.ndarray, projections: list[Layer], residual: bool) -> np.ndarray:
    """RETURNS (ndarray): A layer's output, from its hidden states and its input. (N, width)"""
    for projection in projections:
        h = project([projection], h)[0][:, : projection.hidden]
    return h + x if residual else h


def _get_projections(
    weights: Weights, settings: Mapping[str, Any], i: int, int8: bool
) -> list[Layer]:
    """RETURNS (List[Layer]): A layer's projection in each direction, if it has some."""
    if settings["hidden"] is None:
        return []
    zeros = np.zeros(settings["width"], dtype=np.float32)

    def lay_out() -> list[Layer]:
        factors = "int8" if int8 else "float32"
        return [lay_out_linear(W.T, zeros, factors) for W in weights[f"projections.{i}"]]

    return weights.cached(("projections", i, int8), lay_out)


def _get_layers(
    weights: Weights, settings: Mapping[str, Any], bidirectional: bool, int8: bool
) -> list[list[Layer]]:
    """RETURNS (List[List[Layer]]): For each layer of a stack, its compiled directions."""
    cell = CELLS[settings["cell"]]
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "extra"][: 4 + bool(cell.extra)]

    def lay_out() -> list[list[Layer]]:
        assert cell.kernel is not None
        return [
            [
                lay_out_layer(
                    cell.kernel,
                    *(weights[f"layers.{i}.{name}_l0{suffix}"] for name in names),
                    factors="int8" if int8 else "float32",
                )
                for suffix in ["", "_reverse"][: 1 + bidirectional]
            ]
            for i in range(settings["depth"])
        ]

    return weights.cached(("layers", int8), lay_out)


def _divide(lengths: Sequence[int], layers: list[list[Layer]]) -> tuple[list[Sequences], bool]:
    # Of the last layer, as most have its size.
    parts, in_threads = divide(lengths, count_weights(layers[-1]))
    sizes = np.asarray(lengths, dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    return [Sequences(starts[part], sizes[part]) for part in parts], in_threads


def count_weights(directions: Sequence[Layer]) -> int:
    """RETURNS (int): How many multiplications a layer takes for each token."""
    return sum(layer.width * (layer.nI + layer.hidden) for layer in directions)


def _project_distinct(
    directions: Sequence[Layer], X: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Project each distinct row of an input once, if many rows repeat.

    directions (Sequence[Layer]): The directions of a layer.
    X (ndarray): The input. (N, nI)
    RETURNS (Tuple[List[ndarray], Optional[ndarray]]): For each direction the gates of the distinct
        rows, (rows, width), and the row of each token, (N,). Empty and None if few repeat.
    """
    index, first = find_distinct(X)
    n_bytes = 4 * len(first) * sum(direction.width for direction in directions)
    if len(first) >= MAX_DISTINCT * len(X) or n_bytes > MAX_PROJECTED_BYTES:
        return [], None
    return project(directions, X[first]), index
