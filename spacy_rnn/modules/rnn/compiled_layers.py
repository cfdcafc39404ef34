"""Recurrent layers with gradients on the compiled kernels. A layer is one operation for torch. The
kernels compute the steps, and torch the products over all tokens at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from ...kernels._kernels import LANES, Layer, Sequences
from ...kernels.layout import from_kernel_rows, lay_out_backward, lay_out_layer, to_kernel_rows
from ..backend import wants_bfloat16
from ..workers import run_tasks
from .cells import Cell, State
from .compiled_predict import count_weights, get_last_saved
from .divide import divide
from .layer import split_directions


def run_layer(
    cell: Cell,
    weights: Sequence[Sequence[torch.Tensor]],
    X: torch.Tensor,
    lengths: Sequence[int],
    state: State | None = None,
) -> tuple[torch.Tensor, State]:
    """Run one recurrent layer, with the arguments and the return value of
    `torch_layers.run_layer`. If autocast asks for bfloat16 and it is faster, products use it.
    """
    assert cell.kernel is not None
    dtype = torch.bfloat16 if wants_bfloat16(X) else X.dtype
    batch = _Batch.from_lengths(cell, lengths, len(weights), state)
    flat = [parameter for direction in weights for parameter in direction]
    with torch.autocast("cpu", enabled=False):
        Y, *last = _Layer.apply(batch, dtype, X, *flat)
    return Y, tuple(last)


@dataclass(frozen=True)
class _Batch:
    """A batch of sequences.

    cell (Cell): The kind of cell.
    n_directions (int): The number of directions.
    starts, sizes (ndarray): The first token and the number of tokens of each sequence. (sequences,)
    lengths (Sequence[int]): The same as `sizes`.
    state (Optional[State]): The state before each sequence.
    """

    cell: Cell
    n_directions: int
    starts: np.ndarray
    sizes: np.ndarray
    lengths: Sequence[int]
    state: State | None

    @classmethod
    def from_lengths(
        cls, cell: Cell, lengths: Sequence[int], n_directions: int, state: State | None
    ) -> "_Batch":
        sizes = np.asarray(lengths, dtype=np.int64)
        return cls(cell, n_directions, np.cumsum(sizes) - sizes, sizes, lengths, state)

    def run(self, runs: Sequence[Callable[..., None]], layer: Layer, n_weights: int) -> bool:
        """Run each direction over all sequences, divided among threads.

        runs (Sequence[Callable]): Runs a direction over `Sequences`.
        layer (Layer): The layer of one of them.
        n_weights (int): How many multiplications each token takes.
        RETURNS (bool): Whether that was worth waking threads for.
        """
        parts, in_threads = divide(self.lengths, n_weights)
        states = [self._get_state(i, layer) for i in range(self.n_directions)]
        tasks = []
        for part in parts:
            sequences = Sequences(self.starts[part], self.sizes[part])
            for i, run in enumerate(runs):
                state = states[i]
                rows = None if state is None else state[part]
                tasks.append(partial(run, sequences, i == 1, state=rows))
        run_tasks(tasks, in_threads=in_threads)
        return in_threads

    def get_ends(self, direction: int) -> np.ndarray:
        """RETURNS (ndarray): The last token that a direction reads of each sequence, without the
        empty ones.
        """
        ends = self.starts if direction else self.starts + self.sizes - 1
        return ends[self.sizes > 0]

    def shift(self, states: torch.Tensor, i: int, state: int = 0) -> torch.Tensor:
        """RETURNS (Tensor): The state before each token, in a direction's order of reading.
        (N, units)
        """
        before = torch.empty_like(states)
        if i == 1:
            before[:-1] = states[1:]
        else:
            before[1:] = states[:-1]
        some = self.sizes > 0
        first = torch.from_numpy((self.starts + self.sizes - 1 if i else self.starts)[some])
        if self.state is None:
            return before.index_fill_(0, first, 0.0)
        return before.index_copy_(0, first, self.state[state][i, torch.from_numpy(some)])

    def _get_state(self, i: int, layer: Layer) -> np.ndarray | None:
        """RETURNS (Optional[ndarray]): The state as the kernels take it. (sequences, 2 x units)"""
        if self.state is None:
            return None
        laid_out = np.zeros((len(self.sizes), 2, layer.units), dtype=np.float32)
        for k, part in enumerate(self.state):
            laid_out[:, k, : layer.hidden] = part[i].detach().numpy()
        return laid_out.reshape(len(self.sizes), 2 * layer.units)


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, batch: _Batch, dtype: torch.dtype, X: torch.Tensor, *flat: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Run the layer on X, with the parameters of all directions one after another."""
        N, factors = len(X), str(dtype).removeprefix("torch.")
        inputs = np.ascontiguousarray(X.detach().numpy())
        weights = split_directions(flat, batch.n_directions)
        layers = [
            lay_out_layer(
                str(batch.cell.kernel), *(p.detach().numpy() for p in own), factors=factors
            )
            for own in weights
        ]
        nI, units, n_weights = layers[0].nI, layers[0].hidden, count_weights(layers)
        Y = np.empty((N, units * len(layers)), dtype=np.float32)
        saved = [np.empty((N, layer.saved_width), dtype=np.float32) for layer in layers]
        runs = [
            partial(
                layer.forward,
                Y=Y,
                column=i * units,
                X=inputs,
                x_column=0 if inputs.shape[1] == nI else i * nI,
                saved=saved[i],
            )
            for i, layer in enumerate(layers)
        ]
        batch.run(runs, layers[0], n_weights)
        Yt = torch.from_numpy(Y)
        # Thinc's optimizer may write to the weights, unseen by torch, before the backward pass.
        ctx.save_for_backward(X, Yt, *(p.detach().clone() for own in weights for p in own))
        ctx.batch, ctx.dtype, ctx.layers, ctx.saved = batch, dtype, layers, saved
        last = _get_last(batch, layers, Yt, saved)
        ctx.mark_non_differentiable(*last)
        return Yt, *last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        X, Y, *flat = ctx.saved_tensors
        batch, layers = ctx.batch, ctx.layers
        factors = str(ctx.dtype).removeprefix("torch.")
        weights, units, nI = split_directions(flat, len(layers)), layers[0].hidden, layers[0].nI
        dY = np.ascontiguousarray(grads[0].numpy())
        d_gates = [np.empty((len(X), layer.grads_width), dtype=np.float32) for layer in layers]
        runs = [
            partial(
                layer.backward,
                dY=dY,
                column=i * units,
                saved=ctx.saved[i],
                weights=lay_out_backward(weights[i][1].numpy(), factors),
                d_gates=d_gates[i],
            )
            for i, layer in enumerate(layers)
        ]
        in_threads = batch.run(runs, layers[0], count_weights(layers))
        is_shared = X.shape[1] == nI
        tasks = [
            partial(
                _get_gradients,
                batch,
                i,
                layer,
                ctx.dtype,
                torch.from_numpy(d_gates[i]),
                X if is_shared else X[:, i * nI : (i + 1) * nI],
                Y[:, i * units : (i + 1) * units],
                ctx.saved[i],
                weights[i],
            )
            for i, layer in enumerate(layers)
        ]
        d_inputs, d_weights = zip(*run_tasks(tasks, in_threads=in_threads), strict=True)
        dX = sum(d_inputs[1:], d_inputs[0]) if is_shared else torch.cat(d_inputs, dim=1)
        return None, None, dX, *(grad for own in d_weights for grad in own)


def _get_last(
    batch: _Batch, layers: Sequence[Layer], Y: torch.Tensor, saved: Sequence[np.ndarray]
) -> State:
    """RETURNS (State): The state after each sequence. An empty one leaves it as it was."""
    units = layers[0].hidden
    if batch.state is None:
        shape = (batch.cell.n_states, len(layers), len(batch.sizes), units)
        last: State = tuple(torch.zeros(shape))
    else:
        last = tuple(part.clone() for part in batch.state)
    some = torch.from_numpy(batch.sizes > 0)
    for i, layer in enumerate(layers):
        ends = batch.get_ends(i)
        last[0][i, some] = Y[torch.from_numpy(ends), i * units : (i + 1) * units]
        if batch.cell.n_states > 1:
            cells = get_last_saved(saved[i][ends], layer)[:, :units]
            last[1][i, some] = torch.from_numpy(cells)
    return last


@torch.no_grad()
def _get_gradients(
    batch: _Batch,
    i: int,
    layer: Layer,
    dtype: torch.dtype,
    d_gates: torch.Tensor,
    X: torch.Tensor,
    H: torch.Tensor,
    saved: np.ndarray,
    weights: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Multiply the gradient of the gates of a direction by what they were computed from.

    d_gates (Tensor): That gradient. (N, grads_width)
    X, H (Tensor): The input and the hidden states. (N, nI), (N, units)
    saved (ndarray): What the forward pass saved. (N, saved_width)
    weights (Sequence[Tensor]): The parameters.
    RETURNS (Tuple[Tensor, List[Tensor]]): The gradients of the input, (N, nI), and of the
        parameters.
    """
    from_input, recurrent = _split_gates(d_gates, layer)
    n_gates = layer.width // layer.units
    before = batch.shift(H, i)
    factors = [part.to(dtype) for part in (from_input, recurrent)]
    rows = torch.from_numpy(to_kernel_rows(weights[0].numpy(), layer.hidden))
    dX = (factors[0] @ rows.to(dtype)).to(X.dtype)
    products = [
        (factor.t() @ other.to(dtype)).float()
        for factor, other in zip(factors, (X, before), strict=True)
    ]
    products += [part.sum(dim=0).unsqueeze(1) for part in (from_input, recurrent)]
    found = [
        torch.from_numpy(from_kernel_rows(product.numpy(), n_gates, layer.hidden))
        for product in products
    ]
    found[2:] = [bias[:, 0] for bias in found[2:]]
    if batch.cell.extra:
        found.append(_get_peephole_gradient(batch, i, layer, d_gates, saved))
    return dX, found


def _split_gates(d_gates: torch.Tensor, layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """RETURNS (Tuple[Tensor, Tensor]): The gradients of what the input adds to the gates, and of
    what the hidden state adds. Each (N, width)
    """
    if layer.grads_width == layer.width:
        return d_gates, d_gates
    # A GRU's reset gate acts on what the hidden state adds to the candidate.
    recurrent, candidate = d_gates.split([layer.width, layer.units], dim=1)
    n_blocks, n_gates = layer.units // LANES, layer.width // layer.units
    from_input = recurrent.clone().view(len(d_gates), n_blocks, n_gates, LANES)
    from_input[:, :, -1] = candidate.view(len(d_gates), n_blocks, LANES)
    return from_input.flatten(1), recurrent


def _get_peephole_gradient(
    batch: _Batch, i: int, layer: Layer, d_gates: torch.Tensor, saved: np.ndarray
) -> torch.Tensor:
    """RETURNS (Tensor): The gradient of the peephole weights of the input, forget and output gates.
    The first two gates see the cell state before the step, the last one that after it. (3, units)
    """
    cells = torch.from_numpy(get_last_saved(saved, layer))[:, : layer.hidden]
    before = batch.shift(cells, i, state=1)
    n_gates = layer.width // layer.units
    gates = d_gates.view(len(d_gates), layer.units // LANES, n_gates, LANES)
    d_i, d_f, _, d_o = (gate.flatten(1)[:, : layer.hidden] for gate in gates.unbind(2))
    return torch.stack([(d_i * before).sum(0), (d_f * before).sum(0), (d_o * cells).sum(0)])
