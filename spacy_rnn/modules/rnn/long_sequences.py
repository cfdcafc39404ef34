"""Recurrent layers over long sequences: piece by piece, with the state carried over. What a layer
needs besides its input and output is bounded then. Pieces are computed in single precision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ..step_major import StepMajor, Steps, cut_steps
from ..workers import run_tasks
from .kernels import run_direction
from .recurrence import join_directions, run_steps, stack_weights
from .time_steps import State

# Runs time steps of all directions, as `run_steps` does.
RunSteps = Callable[
    [str, torch.Tensor, Sequence[torch.Tensor], Steps, State | None], tuple[torch.Tensor, State]
]


@dataclass(frozen=True)
class Limits:
    """How much of a sequence is computed at a time.

    max_tokens (int): In prediction, longer sequences are computed in pieces of this many tokens,
        with the same result.
    k1 (Optional[int]): In training, sequences longer than k2 are computed in pieces of this many
        tokens, and the gradient of each piece goes back k2 tokens from its end: truncated
        backpropagation through time, BPTT(k2; k1) of Williams & Peng (1990), "An Efficient
        Gradient-Based Algorithm for On-Line Training of Recurrent Network Trajectories". None
        goes back to the beginning.
    k2 (Optional[int]): A multiple of k1.
    """

    max_tokens: int = 10_000
    k1: int | None = None
    k2: int | None = None


def run_pieces(layer: nn.RNNBase, X: torch.Tensor, size: int) -> torch.Tensor:
    """Run a layer over one sequence without gradients: forward pieces from left to right, backward
    pieces from right to left.

    layer (nn.RNNBase): The layer.
    X (Tensor): The sequence. (N, nI)
    size (int): The number of tokens of a piece.
    RETURNS (Tensor): The hidden states, forward half first. (N, directions x hidden)
    """
    directions = 2 if layer.bidirectional else 1
    Y = X.new_empty(len(X), directions * layer.hidden_size, dtype=torch.float32)
    halves = Y.split(layer.hidden_size, dim=1)
    tasks = [partial(_run_half, layer, i, X, size, half) for i, half in enumerate(halves)]
    if X.device.type == "cpu":
        run_tasks(tasks)
    else:
        for task in tasks:
            task()
    return Y


def _run_half(
    layer: nn.RNNBase, direction: int, X: torch.Tensor, size: int, Y: torch.Tensor
) -> None:
    if len(X) == 0:
        return
    ranges = list(zip(X.split(size), Y.split(size), strict=True))
    state = None
    # Autocast belongs to a thread, and the kernels without gradients don't know it.
    with torch.autocast(X.device.type, enabled=False):
        for piece, target in reversed(ranges) if direction else ranges:
            turned = (piece.flip(0) if direction else piece).float().unsqueeze(1)
            # Padding would spoil the state, so that an odd number of steps ends with a single one.
            n_odd = len(piece) % 2
            pieces = cut_steps(len(piece) - n_odd, 1) + (1,) * n_odd
            out, state = run_direction(layer, direction, turned, pieces, state)
            target.copy_(out[:, 0].flip(0) if direction else out[:, 0])


def run_truncated(
    layer: nn.RNNBase, X: torch.Tensor, layout: StepMajor, k1: int, k2: int, *, fused: bool
) -> torch.Tensor:
    """Run a layer with truncated backpropagation through time. Only the hidden states are kept;
    what a piece's gradient needs besides is computed again when it is its turn, so that each
    token is computed k2 / k1 + 1 times.

    layer (nn.RNNBase): The layer.
    X (Tensor): The input, in the layout's order. (N, nI)
    layout (StepMajor): Where the sequences' tokens are.
    k1 (int): The number of time steps of a piece.
    k2 (int): How many steps the gradient of a piece goes back, from its end. A multiple of k1.
    fused (bool): Whether to run torch's layers instead of our own steps.
    RETURNS (Tensor): The hidden states, forward half first. (N, directions x hidden)
    """
    run = run_fused_steps if fused else run_steps
    pieces = _Pieces(layer, layout, layout.get_steps(), k1, k2, run)
    with torch.autocast(X.device.type, enabled=False):
        Y = _Truncated.apply(pieces, X.float(), *stack_weights(layer))
    return join_directions(Y, layout)


def run_fused_steps(
    mode: str,
    inputs: torch.Tensor,
    weights: Sequence[torch.Tensor],
    steps: Steps,
    state: State | None = None,
) -> tuple[torch.Tensor, State]:
    """Do what `run_steps` does, with torch's layers."""
    kernel = getattr(torch._VF, {"LSTM": "lstm", "GRU": "gru"}.get(mode, mode.lower()))
    sizes = torch.tensor([end - start for start, end in steps])
    n_first, n_last = int(sizes[0]), int(sizes[-1])
    if state is None:
        zeros = inputs.new_zeros(len(inputs), n_first, weights[1].shape[2])
        state = (zeros, zeros) if mode == "LSTM" else (zeros,)
    results = []
    for i, X in enumerate(inputs):
        first = [part[i : i + 1, :n_first].contiguous() for part in state]
        # Arguments: has_biases, num_layers, dropout, train, bidirectional.
        Y, *last = kernel(
            X,
            sizes,
            first if mode == "LSTM" else first[0],
            [weight[i] for weight in weights],
            True,
            1,
            0.0,
            torch.is_grad_enabled(),
            False,
        )
        results.append((Y.unsqueeze(0), *(part[:, :n_last].detach() for part in last)))
    Ys, *parts = (torch.cat(part) for part in zip(*results, strict=True))
    return Ys, tuple(parts)


@dataclass(frozen=True)
class _Pieces:
    """A batch in pieces of k1 time steps."""

    layer: nn.RNNBase
    layout: StepMajor
    steps: Steps
    k1: int
    k2: int
    run: RunSteps

    def __len__(self) -> int:
        return -(-len(self.steps) // self.k1)

    def run_range(
        self,
        X: torch.Tensor,
        weights: Sequence[torch.Tensor],
        first: int,
        last: int,
        state: State | None,
    ) -> tuple[torch.Tensor, State]:
        """Run the pieces from the first to the last on their input. (directions, n, nI)"""
        steps = self._get_steps(first, last)
        offset = steps[0][0]
        steps = [(start - offset, end - offset) for start, end in steps]
        return self.run(self.layer.mode, X, weights, steps, state)

    def get_range(self, first: int, last: int) -> slice:
        """The packed positions of the pieces from the first to the last."""
        steps = self._get_steps(first, last)
        return slice(steps[0][0], steps[-1][1])

    def find_first(self, piece: int) -> int:
        """The first piece that a piece's gradient goes back to."""
        return max(0, piece + 1 - self.k2 // self.k1)

    def _get_steps(self, first: int, last: int) -> Steps:
        return self.steps[first * self.k1 : (last + 1) * self.k1]

    def take(self, X: torch.Tensor, where: slice) -> torch.Tensor:
        """The input at packed positions, for both directions. (N, nI) to (directions, n, nI)"""
        if not self.layer.bidirectional:
            return X[where].unsqueeze(0)
        return torch.stack([X[where], X.index_select(0, self.layout.mirror[where])])

    def give_back(self, dX: torch.Tensor, grad: torch.Tensor, where: slice) -> None:
        """Add the gradient of what `take` returned to that of the input."""
        dX[where] += grad[0]
        if self.layer.bidirectional:
            dX.index_add_(0, self.layout.mirror[where], grad[1])


class _Truncated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pieces: _Pieces, X: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        """Run all pieces. (N, nI) to (directions, N, hidden)"""
        state: State | None = None
        ctx.states, outputs = [], []
        for i in range(len(pieces)):
            ctx.states.append(state)
            inputs = pieces.take(X, pieces.get_range(i, i))
            Y, state = pieces.run_range(inputs, weights, i, i, state)
            outputs.append(Y)
        ctx.pieces = pieces
        ctx.save_for_backward(X, *weights)
        return torch.cat(outputs, dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        X, *weights = ctx.saved_tensors
        pieces: _Pieces = ctx.pieces
        dX, d_weights = torch.zeros_like(X), [torch.zeros_like(weight) for weight in weights]
        for i in range(len(pieces)):
            first = pieces.find_first(i)
            where, own = pieces.get_range(first, i), pieces.get_range(i, i)
            # Of earlier pieces, the gradient of their own results has its own turn.
            grad = grads[0][:, where].clone()
            grad[:, : own.start - where.start] = 0
            with torch.enable_grad():
                args = [pieces.take(X, where), *weights]
                args = [arg.detach().requires_grad_() for arg in args]
                Y, _ = pieces.run_range(args[0], args[1:], first, i, ctx.states[first])
            d_inputs, *d_args = torch.autograd.grad(Y, args, grad)
            pieces.give_back(dX, d_inputs, where)
            for d_weight, d_arg in zip(d_weights, d_args, strict=True):
                d_weight += d_arg
        return None, dX, *d_weights
