"""Prediction with stacks of recurrent layers on the compiled kernels. The output for a sequence
is the same to the bit in every batch.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...kernels._kernels import LANES, Layer, Sequences, find_distinct
from ...kernels.layout import lay_out_layer, lay_out_linear
from ..cache import cached
from ..linear import project
from ..workers import run_tasks
from .parts import divide

if TYPE_CHECKING:
    from .encoder_stack import EncoderStack
    from .lm_stack import LMStack

# Inputs that repeat are projected once, if fewer than this share of them are distinct and what they
# are projected to takes no more bytes than this.
MAX_DISTINCT = 0.75
MAX_PROJECTED_BYTES = 40_000_000


def predict_encoder(
    stack: "EncoderStack", X: torch.Tensor, lengths: Sequence[int], *, bf16: bool
) -> torch.Tensor:
    """Run a stack whose layers read both directions of the layer below.

    stack (EncoderStack): The stack.
    X (Tensor): The tokens of all sequences, one after another. float32, (N, nI)
    lengths (Sequence[int]): The number of tokens of each sequence.
    bf16 (bool): Whether factors of products are rounded to bfloat16.
    RETURNS (Tensor): The last layer's hidden states. (N, nO)
    """
    layers = _get_layers(stack, bf16)
    inputs = np.ascontiguousarray(X.detach().numpy())
    parts, in_threads = _divide(lengths, layers)
    tables, index = _project_distinct(layers[0], inputs)
    for i, directions in enumerate(layers):
        Y = np.empty((len(inputs), stack.nO), dtype=np.float32)
        tasks = []
        for part in parts:
            for k, direction in enumerate(directions):
                source = {"X": inputs} if i or not tables else {"gates": tables[k], "index": index}
                column = k * (stack.nO // len(directions))
                tasks.append(partial(direction.forward, part, k == 1, Y, column, **source))
        run_tasks(tasks, in_threads=in_threads)
        if stack.residual or stack.norms:
            with torch.no_grad():
                pair = torch.from_numpy(inputs), torch.from_numpy(Y)
                Y = stack.finish_layer(i, *pair).numpy()
        inputs = Y
    return torch.from_numpy(inputs)


def predict_lm(
    stack: "LMStack", tokens: torch.Tensor, lengths: Sequence[int], *, bf16: bool
) -> torch.Tensor:
    """Run the layers of a language model. Each direction reads a boundary first, and then its own
    output only.

    stack (LMStack): The stack.
    tokens (Tensor): The input, repeated for all directions, and room for each layer's output.
        float32, (N, layers + 1, directions, width)
    lengths (Sequence[int]): The number of tokens of each sequence; N together.
    bf16 (bool): Whether factors of products are rounded to bfloat16.
    RETURNS (Tensor): The outputs at the boundary. (layers, directions, width)
    """
    layers, width, units = _get_layers(stack, bf16), stack.width, stack.units
    parts, in_threads = _divide(lengths, layers)
    inputs = np.ascontiguousarray(tokens[:, 0, 0].numpy())
    tables, index = _project_distinct(layers[0], inputs)
    outputs, Y = tokens.numpy(), tokens.flatten(1).numpy()
    boundaries = [stack.boundary.detach().numpy()] * stack.n_directions
    at_boundary: list[np.ndarray] = []
    chains: list[list[Any]] = [[] for _ in boundaries]
    for i, directions in enumerate(layers):
        residual, projections = stack.residual and i > 0, _get_projections(stack, i)
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
            outputs[:, i + 1, k] = _finish(h, outputs[:, i, k], [projection], residual)
    return torch.from_numpy(np.stack(at_boundary))


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


def _get_projections(stack: "LMStack", i: int) -> list[Layer]:
    """RETURNS (List[Layer]): A layer's projection in each direction, if it has some."""
    if not stack.projections:
        return []
    weights = stack.projections[i].detach()
    zeros = np.zeros(stack.width, dtype=np.float32)
    return cached(
        stack,
        ("projections", i),
        [stack.projections[i]],
        lambda: [lay_out_linear(weight.t().contiguous().numpy(), zeros) for weight in weights],
    )


def _get_layers(stack: Any, bf16: bool) -> list[list[Layer]]:
    """RETURNS (List[List[Layer]]): For each layer of a stack, its compiled directions."""
    weights = stack.get_weights()
    flat = [parameter for layer in weights for direction in layer for parameter in direction]

    def lay_out() -> list[list[Layer]]:
        return [
            [
                lay_out_layer(
                    stack.cell.kernel, *(p.detach().numpy() for p in direction), bf16=bf16
                )
                for direction in layer
            ]
            for layer in weights
        ]

    return cached(stack, ("layers", bf16), flat, lay_out)


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
