"""Recurrent layers without gradients, by the compiled kernels."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from ...kernels._kernels import Direction, Projection, Sequences, find_distinct
from ..workers import run_tasks
from .sequences import RunDirection, count_parts, divide, run_directions
from .weights import N_GATES, get_direction, make_projection

# Inputs that repeat are projected once, if fewer than this share of them are distinct and what is
# made of them takes no more bytes than this.
MAX_DISTINCT = 0.75
MAX_PROJECTED_BYTES = 40_000_000


def predict_layer(
    layer: nn.RNNBase,
    X: torch.Tensor,
    lengths: Sequence[int],
    *,
    repeats: bool = False,
    half: bool = False,
) -> torch.Tensor:
    """Run one recurrent layer. What comes out for a sequence is the same to the bit whatever else
    is in the batch.

    layer (nn.RNNBase): Torch's module with the parameters: LSTM or GRU, of one layer.
    X (Tensor): The tokens of all sequences, one after another. float32, (N, nI)
    lengths (Sequence[int]): The number of tokens of each sequence.
    repeats (bool): Whether to look for rows of the input that repeat, as embeddings of words do.
    half (bool): Whether to round the factors of products to bfloat16.
    RETURNS (Tensor): The hidden states, forward half first. (N, directions x hidden)
    """
    directions = _get_directions(layer, half)
    hidden = layer.hidden_size
    inputs = np.ascontiguousarray(X.detach().numpy())
    Y = np.empty((len(inputs), hidden * len(directions)), dtype=np.float32)
    parts = divide(lengths, _count_weights(layer) * len(directions))
    tables, index = _project_distinct(directions, inputs) if repeats else (None, None)
    runs: list[RunDirection] = []
    for i, direction in enumerate(directions):
        source: dict[str, Any] = {"X": inputs}
        if tables is not None:
            source = {"gates": tables[i], "index": index}
        runs.append(partial(direction.forward, Y=Y, column=i * hidden, **source))
    run_directions(runs, *parts)
    return torch.from_numpy(Y)


def predict_directed(
    layers: Sequence[nn.RNNBase],
    boundary: torch.Tensor,
    tokens: torch.Tensor,
    lengths: Sequence[int],
    *,
    residual: bool = False,
    half: bool = False,
) -> None:
    """Run the layers of a language model, of which each direction reads a boundary first, and then
    its own output only. What comes out for a sequence is the same to the bit in every batch.

    layers (Sequence[nn.RNNBase]): Torch's modules with the parameters: LSTM or GRU, of one layer,
        with as many units as the input is wide.
    boundary (Tensor): What is read first. (1, width)
    tokens (Tensor): The input and each layer's output, of which the first is there, for all
        directions the same. float32, (N, layers + 1, directions, width)
    lengths (Sequence[int]): The number of tokens of each sequence; N together.
    residual (bool): Whether to add a layer's input to its output, from the second layer on.
    half (bool): Whether to round the factors of products to bfloat16.
    """
    stacks = list(zip(*(_get_directions(layer, half) for layer in layers), strict=True))
    parts = divide(lengths, sum(map(_count_weights, layers)) * len(stacks))
    inputs = np.ascontiguousarray(tokens[:, 0, 0].numpy())
    tables, index = _project_distinct([stack[0] for stack in stacks], inputs)
    Y = tokens.flatten(1).numpy()
    n_columns = len(stacks) * tokens.shape[3]
    # For each direction, its layers one after the other: what they read, and where they write.
    runs: list[list[RunDirection]] = []
    for i, stack in enumerate(stacks):
        runs.append([])
        states = _read_boundary(stack, boundary.detach().numpy(), residual)
        for k, (direction, state) in enumerate(zip(stack, states, strict=True)):
            before = k * n_columns + i * tokens.shape[3]
            source: dict[str, Any] = {"X": Y, "x_column": before, "residual": residual and k > 0}
            if tables is not None and k == 0:
                source = {"gates": tables[i], "index": index}
            to = before + n_columns
            runs[i].append(partial(direction.forward, Y=Y, column=to, state=state, **source))
    run_directions([partial(_run_layers, layers_of_one) for layers_of_one in runs], *parts)


def predict_linear(weight: np.ndarray, bias: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Run a linear layer. What comes out for a row is the same to the bit whatever else is in the
    batch.

    weight (ndarray): The weights. float32, (nO, nI)
    bias (ndarray): The bias. float32, (nO,)
    X (ndarray): The input. float32, (N, nI)
    RETURNS (ndarray): The output. (N, nO)
    """
    (out,) = _project([make_projection(weight, bias)], np.ascontiguousarray(X))
    return np.ascontiguousarray(out[:, : len(weight)])


def _run_layers(layers: Sequence[RunDirection], part: Sequences, reverse: bool) -> None:
    for run in layers:
        run(part, reverse)


def _read_boundary(stack: Sequence[Direction], x: np.ndarray, residual: bool) -> list[np.ndarray]:
    """RETURNS (List[ndarray]): The state of each layer after it. (1, 2 x units)"""
    one, states = Sequences(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64)), []
    for i, direction in enumerate(stack):
        saved = np.empty((1, direction.saved_width), dtype=np.float32)
        # A GRU has no cells, and zeros in their place.
        hidden, cells = np.zeros((2, 1, direction.units), dtype=np.float32)
        direction.forward(one, False, hidden, 0, X=x, saved=saved, cells=cells)
        states.append(np.concatenate([hidden, cells], axis=1))
        y = hidden[:, : x.shape[1]]
        x = np.ascontiguousarray(x + y if residual and i else y)
    return states


def _get_directions(layer: nn.RNNBase, half: bool) -> list[Direction]:
    return [get_direction(layer, i, half) for i in range(2 if layer.bidirectional else 1)]


def _count_weights(layer: nn.RNNBase) -> int:
    return N_GATES[layer.mode] * layer.hidden_size * (layer.input_size + layer.hidden_size)


def _project_distinct(
    directions: Sequence[Direction], X: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray] | tuple[None, None]:
    """Project each distinct row of an input once, if that is worth while.

    directions (Sequence[Direction]): The directions of a layer.
    X (ndarray): The input. (N, nI)
    RETURNS (Tuple[Optional[List[ndarray]], Optional[ndarray]]): For each direction the gates of
        the distinct rows, (rows, width), and the row of each token, (N,).
    """
    index, first = find_distinct(X)
    n_bytes = 4 * len(first) * sum(direction.width for direction in directions)
    if len(first) >= MAX_DISTINCT * len(X) or n_bytes > MAX_PROJECTED_BYTES:
        return None, None
    return _project(directions, X[first]), index


def _project(directions: Sequence[Projection], X: np.ndarray) -> list[np.ndarray]:
    n_weights = X.shape[1] * sum(direction.width for direction in directions)
    n_parts = count_parts(len(X), n_weights)
    tables = [np.empty((len(X), direction.width), dtype=np.float32) for direction in directions]
    bounds = [i * len(X) // n_parts for i in range(n_parts + 1)]
    run_tasks(
        [
            partial(direction.project, X[begin:end], table[begin:end])
            for direction, table in zip(directions, tables, strict=True)
            for begin, end in pairwise(bounds)
        ],
        in_threads=n_parts > 1,
    )
    return tables
