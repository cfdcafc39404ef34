"""Recurrent layers without gradients, by the compiled kernels."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from ..workers import run_tasks
from ._rnn import Direction, Sequences, find_distinct
from .sequences import count_parts, divide
from .weights import get_direction

# Inputs that repeat are projected once, if fewer than this share of them are distinct and what is
# made of them takes no more bytes than this.
MAX_DISTINCT = 0.75
MAX_PROJECTED_BYTES = 16_000_000


def predict_layer(
    layer: nn.RNNBase, X: torch.Tensor, lengths: Sequence[int], *, repeats: bool = False
) -> torch.Tensor:
    """Run one recurrent layer. What comes out for a sequence is the same to the bit whatever else
    is in the batch.

    layer (nn.RNNBase): Torch's module with the parameters: LSTM or GRU, of one layer.
    X (Tensor): The tokens of all sequences, one after another. float32, (N, nI)
    lengths (Sequence[int]): The number of tokens of each sequence.
    repeats (bool): Whether to look for rows of the input that repeat, as embeddings of words do.
    RETURNS (Tensor): The hidden states, forward half first. (N, directions x hidden)
    """
    directions = [get_direction(layer, i) for i in range(2 if layer.bidirectional else 1)]
    hidden = layer.hidden_size
    n_weights = directions[0].width * (layer.input_size + hidden)
    inputs = np.ascontiguousarray(X.detach().numpy())
    Y = np.empty((len(inputs), hidden * len(directions)), dtype=np.float32)
    parts = divide(lengths, n_weights * len(directions))
    index: np.ndarray | None = None
    tables: Sequence[np.ndarray | None] = [None for _ in directions]
    if repeats:
        index, first = find_distinct(inputs)
        n_bytes = 4 * len(first) * sum(direction.width for direction in directions)
        if len(first) < MAX_DISTINCT * len(inputs) and n_bytes <= MAX_PROJECTED_BYTES:
            tables = _project(directions, inputs[first])
    run_tasks(
        [
            partial(_run_part, direction, part, i == 1, Y, i * hidden, inputs, table, index)
            for part in parts
            for i, (direction, table) in enumerate(zip(directions, tables, strict=True))
        ],
        in_threads=len(parts) > 1,
    )
    return torch.from_numpy(Y)


def _project(directions: Sequence[Direction], X: np.ndarray) -> list[np.ndarray]:
    n_weights = X.shape[1] * sum(direction.width for direction in directions)
    n_parts = count_parts(len(X), n_weights)
    tables = [np.empty((len(X), direction.width), dtype=np.float32) for direction in directions]
    bounds = np.linspace(0, len(X), n_parts + 1).astype(int).tolist()
    run_tasks(
        [
            partial(direction.project, X[begin:end], table[begin:end])
            for direction, table in zip(directions, tables, strict=True)
            for begin, end in pairwise(bounds)
        ],
        in_threads=n_parts > 1,
    )
    return tables


def _run_part(
    direction: Direction,
    part: Sequences,
    reverse: bool,
    Y: np.ndarray,
    column: int,
    X: np.ndarray,
    table: np.ndarray | None,
    index: np.ndarray | None,
) -> None:
    if table is None:
        direction.forward(part, reverse, Y, column, X=X)
    else:
        direction.forward(part, reverse, Y, column, gates=table, index=index)
