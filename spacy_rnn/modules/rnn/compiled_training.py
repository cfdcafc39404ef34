"""Recurrent layers with gradients, by the compiled kernels: a layer is one operation for torch.
What goes from step to step is theirs; the products over all tokens at once are torch's.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from ...kernels._kernels import LANES, Sequences
from ..step_major import Steps
from ..workers import run_tasks
from .recurrence import get_product_dtype
from .sequences import count_parts, divide, run_directions
from .time_steps import State
from .weights import N_GATES, from_blocks, make_direction, to_rows, weights_for_way_back


def train_layer(layer: nn.RNNBase, X: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """Run one recurrent layer. Torch records it for gradients. Where autocast is on, the factors of
    products are rounded to bfloat16.

    layer (nn.RNNBase): Torch's module with the parameters: LSTM or GRU, of one layer.
    X (Tensor): The tokens of all sequences, one after another. float32, (N, nI)
    lengths (Sequence[int]): The number of tokens of each sequence.
    RETURNS (Tensor): The hidden states, forward half first. (N, directions x hidden)
    """
    weights: list[torch.Tensor] = layer._flat_weights  # type: ignore[assignment]
    dtype = get_product_dtype(X)
    with torch.autocast("cpu", enabled=False):
        return _Layer.apply(layer.mode, lengths, dtype, X, *weights)


def train_rectangle(
    mode: str,
    inputs: torch.Tensor,
    weights: Sequence[torch.Tensor],
    steps: Steps,
    state: State | None = None,
) -> tuple[torch.Tensor, State]:
    """Do what `recurrence.run_steps` does, with its arguments, for LSTM and GRU and sequences that
    have all of the steps.
    """
    dtype = get_product_dtype(inputs)
    with torch.autocast("cpu", enabled=False):
        Y, *last = _Rectangle.apply(mode, steps[0][1], dtype, state, inputs.contiguous(), *weights)
    return Y, tuple(last)


class _Direction:
    """One direction of a layer, and what its way back needs of the tokens.

    mode (str): The kind of cell, as torch calls it.
    dtype (torch.dtype): The precision of the factors of products.
    N (int): The number of tokens.
    weights (Tensor): Torch's parameters.
    """

    def __init__(self, mode: str, dtype: torch.dtype, N: int, *weights: torch.Tensor):
        self.dtype, self.n_gates = dtype, N_GATES[mode]
        self.compiled = make_direction(mode, *weights, half=self.is_half)
        self.saved = np.empty((N, self.compiled.saved_width), dtype=np.float32)
        self.cells = np.empty((N, self.compiled.units), dtype=np.float32)

    @property
    def is_half(self) -> bool:
        return self.dtype is torch.bfloat16

    def forward(self, X: np.ndarray, Y: np.ndarray, column: int = 0) -> Any:
        """RETURNS: What runs it over `Sequences`, writing to columns of Y."""
        return partial(
            self.compiled.forward, Y=Y, column=column, X=X, saved=self.saved, cells=self.cells
        )

    def backward(
        self, weight_hh: torch.Tensor, dY: np.ndarray, d_gates: np.ndarray, column: int = 0
    ) -> Any:
        """RETURNS: What runs it backwards, with the gradient of those columns, writing that of the
        gates.
        """
        return partial(
            self.compiled.backward,
            dY=dY,
            column=column,
            saved=self.saved,
            cells=self.cells,
            weights=weights_for_way_back(weight_hh, half=self.is_half),
            d_gates=d_gates,
        )

    # Tasks run in inference mode, whose tensors no optimizer may write to.
    @torch.inference_mode(False)
    @torch.no_grad()
    def get_gradients(
        self, d_gates: np.ndarray, X: torch.Tensor, before: torch.Tensor, weight_ih: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Multiply the gradient of the gates by all that they were made from.

        d_gates (ndarray): That gradient. (N, saved_width)
        X (Tensor): The input. (N, nI)
        before (Tensor): The hidden states of the step before. (N, hidden)
        weight_ih (Tensor): Torch's parameter. (gates x hidden, nI)
        RETURNS (Tuple[Tensor, List[Tensor]]): The gradients of the input, (N, nI), and of torch's
            four parameters.
        """
        hidden = before.shape[1]
        from_input, recurrent = self._split(torch.from_numpy(d_gates))
        factors = [part.to(self.dtype) for part in (from_input, recurrent)]
        dX = (factors[0] @ to_rows(weight_ih, hidden).to(self.dtype)).to(X.dtype)
        d_weights = [
            self._from_blocks((factor.t() @ other.to(self.dtype)).float(), hidden)
            for factor, other in zip(factors, (X, before), strict=True)
        ]
        d_biases = [
            self._from_blocks(part.sum(dim=0).unsqueeze(1), hidden)[:, 0]
            for part in (from_input, recurrent)
        ]
        return dX, d_weights + d_biases

    def _split(self, d_gates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """RETURNS (Tuple[Tensor, Tensor]): The gradients of what the input adds to the gates, and
        of what the state adds to them. Each (N, width)
        """
        if self.n_gates == N_GATES["LSTM"]:
            return d_gates, d_gates
        # The reset gate acts on what the state adds to a GRU's candidate.
        recurrent, candidate = d_gates.split([self.compiled.width, self.compiled.units], dim=1)
        from_input = recurrent.clone().view(len(d_gates), -1, self.n_gates, LANES)
        from_input[:, :, 2] = candidate.view(len(d_gates), -1, LANES)
        return from_input.flatten(1), recurrent

    def _from_blocks(self, rows: torch.Tensor, hidden: int) -> torch.Tensor:
        return from_blocks(rows, self.n_gates, hidden)


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        mode: str,
        lengths: Sequence[int],
        dtype: torch.dtype,
        X: torch.Tensor,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        """Run the layer on X (N, nI), with four parameters for each direction."""
        hidden, inputs = weights[1].shape[1], np.ascontiguousarray(X.detach().numpy())
        N, n_directions = len(inputs), len(weights) // 4
        directions = [
            _Direction(mode, dtype, N, *weights[4 * i : 4 * i + 4]) for i in range(n_directions)
        ]
        Y = np.empty((N, hidden * n_directions), dtype=np.float32)
        parts = divide(lengths, n_directions * N_GATES[mode] * hidden * (X.shape[1] + hidden))
        runs = [direction.forward(inputs, Y, i * hidden) for i, direction in enumerate(directions)]
        run_directions(runs, *parts)
        Yt = torch.from_numpy(Y)
        # Torch does not see an optimizer of Thinc's write over the weights, which may be before it
        # is time for their gradients.
        kept = [
            weight.detach().clone()
            for i in range(0, len(weights), 4)
            for weight in weights[i : i + 2]
        ]
        ctx.save_for_backward(X, Yt, *kept)
        ctx.directions, ctx.parts, ctx.lengths = directions, parts, lengths
        return Yt

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        X, Y, *weights = ctx.saved_tensors
        weights_ih, weights_hh = weights[::2], weights[1::2]
        hidden = weights_hh[0].shape[1]
        dY = np.ascontiguousarray(grads[0].numpy())
        d_gates = [np.empty_like(direction.saved) for direction in ctx.directions]
        runs = [
            direction.backward(weights_hh[i], dY, d_gates[i], i * hidden)
            for i, direction in enumerate(ctx.directions)
        ]
        run_directions(runs, *ctx.parts)
        dX: torch.Tensor | None = None
        d_weights: list[torch.Tensor] = []
        tasks = []
        for i, direction in enumerate(ctx.directions):
            before = get_states_before(Y[:, i * hidden : (i + 1) * hidden], ctx.lengths, i == 1)
            tasks.append(partial(direction.get_gradients, d_gates[i], X, before, weights_ih[i]))
        for d_input, found in run_tasks(tasks, in_threads=ctx.parts[1]):
            dX = d_input if dX is None else dX.add_(d_input)
            d_weights += found
        return None, None, None, dX, *d_weights


class _Rectangle(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        mode: str,
        n_rows: int,
        dtype: torch.dtype,
        state: State | None,
        X: torch.Tensor,
        *weights: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Run all directions on X (directions, N, nI), each with its own part of the weights."""
        n_directions, N, hidden = *X.shape[:2], weights[1].shape[2]
        directions = [
            _Direction(mode, dtype, N, *(w[i] for w in weights)) for i in range(n_directions)
        ]
        inputs = X.detach().numpy()
        Y = np.empty((n_directions, N, hidden), dtype=np.float32)
        states = None if state is None else _to_units(state, directions[0].compiled.units)
        runs = [direction.forward(inputs[i], Y[i]) for i, direction in enumerate(directions)]
        n_weights = n_directions * N_GATES[mode] * hidden * (X.shape[2] + hidden)
        n_parts = count_parts(N, n_weights)
        ctx.parts = _divide_rows(n_rows, N // n_rows, n_parts), n_parts > 1
        _run_rows(runs, states, *ctx.parts)
        Yt = torch.from_numpy(Y)
        last = [Yt[:, N - n_rows :].clone()]
        if mode == "LSTM":
            cells = np.stack([direction.cells[N - n_rows :, :hidden] for direction in directions])
            last.append(torch.from_numpy(cells))
        first = torch.zeros_like(last[0]) if state is None else state[0].detach()
        ctx.save_for_backward(X, Yt, first, *weights[:2])
        ctx.mark_non_differentiable(*last)
        ctx.directions, ctx.states = directions, states
        return Yt, *last

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        X, Y, first, weight_ih, weight_hh = ctx.saved_tensors
        dY = np.ascontiguousarray(grads[0].numpy())
        d_gates = [np.empty_like(direction.saved) for direction in ctx.directions]
        runs = [
            direction.backward(weight_hh[i], dY[i], d_gates[i])
            for i, direction in enumerate(ctx.directions)
        ]
        _run_rows(runs, ctx.states, *ctx.parts)
        before = torch.cat([first, Y[:, : Y.shape[1] - first.shape[1]]], dim=1)
        tasks = [
            partial(direction.get_gradients, d_gates[i], X[i], before[i], weight_ih[i])
            for i, direction in enumerate(ctx.directions)
        ]
        found = run_tasks(tasks, in_threads=ctx.parts[1])
        dX = torch.stack([d_input for d_input, _ in found])
        d_weights = zip(*(d_weights for _, d_weights in found), strict=True)
        return None, None, None, None, dX, *map(torch.stack, d_weights)


def _divide_rows(n_rows: int, n_steps: int, n_parts: int) -> list[tuple[slice, Sequences]]:
    """RETURNS (List[Tuple[slice, Sequences]]): Rows of a rectangle, and the sequences they are."""
    bounds = np.linspace(0, n_rows, min(n_parts, n_rows) + 1).astype(int).tolist()
    return [
        (
            slice(begin, end),
            Sequences(np.arange(begin, end), np.full(end - begin, n_steps), n_rows),
        )
        for begin, end in pairwise(bounds)
    ]


def _run_rows(
    runs: Sequence[Any],
    states: np.ndarray | None,
    parts: Sequence[tuple[slice, Sequences]],
    in_threads: bool,
) -> None:
    tasks = [
        partial(run, part, False, state=None if states is None else states[i, rows])
        for rows, part in parts
        for i, run in enumerate(runs)
    ]
    run_tasks(tasks, in_threads=in_threads)


def _to_units(state: State, units: int) -> np.ndarray:
    """Lay out a state for the kernels. (directions, rows, 2 x units)"""
    laid_out = np.zeros((*state[0].shape[:2], 2, units), dtype=np.float32)
    for i, part in enumerate(state):
        laid_out[:, :, i, : part.shape[2]] = part.detach().numpy()
    return laid_out.reshape(*laid_out.shape[:2], -1)


def get_states_before(Y: torch.Tensor, lengths: Sequence[int], reverse: bool) -> torch.Tensor:
    """Get what each step has read besides its input.

    Y (Tensor): The hidden states of one direction. (N, hidden)
    lengths (Sequence[int]): The number of tokens of each sequence.
    reverse (bool): Whether it reads from the end.
    RETURNS (Tensor): For each token, the state of the one before, zeros at the first. (N, hidden)
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    ends = np.cumsum(sizes)
    before = torch.empty(Y.shape)
    if reverse:
        before[:-1] = Y[1:]
        first = ends[sizes > 0] - 1
    else:
        before[1:] = Y[:-1]
        first = (ends - sizes)[sizes > 0]
    return before.index_fill_(0, torch.from_numpy(first), 0.0)
