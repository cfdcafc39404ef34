"""Truncated backpropagation through time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .cells import Cell, State
from .layer import split_directions

# `run_layer` of torch_layers.py or compiled_layers.py.
RunLayer = Callable[..., tuple[torch.Tensor, State]]


def run_truncated(
    run_layer: RunLayer,
    cell: Cell,
    weights: Sequence[Sequence[torch.Tensor]],
    X: torch.Tensor,
    lengths: Sequence[int],
    k1: int,
    k2: int,
) -> tuple[torch.Tensor, State]:
    """Run a layer with truncated backpropagation through time. To bound memory, only the hidden
    states are kept. The backward pass recomputes each piece with the k2 steps up to its end, so
    each token is computed k2 / k1 + 1 times.

    run_layer (Callable): Runs the layer as a whole.
    cell, weights, X, lengths: As `torch_layers.run_layer` takes them.
    k1 (int): The number of time steps of a piece.
    k2 (int): How many steps the gradient of a piece goes back, from its end. A multiple of k1.
    RETURNS (Tuple[Tensor, State]): The hidden states, (N, directions x units), and no state.
    """
    pieces = _Pieces(run_layer, cell, len(weights), np.asarray(lengths, dtype=np.int64), k1)
    flat = [parameter for direction in weights for parameter in direction]
    return _Truncated.apply(pieces, k2 // k1, X, *flat), ()


@dataclass(frozen=True)
class _Pieces:
    """A batch in pieces of k1 time steps, each direction's from where it begins to read."""

    run_layer: RunLayer
    cell: Cell
    n_directions: int
    sizes: np.ndarray
    k1: int

    def __len__(self) -> int:
        return -(-int(self.sizes.max(initial=0)) // self.k1)

    def get_range(self, first: int, last: int) -> tuple[list[torch.Tensor], list[int]]:
        """RETURNS (Tuple[List[Tensor], List[int]]): The tokens of the pieces from the first to the
        last in each direction, and their number in each sequence.
        """
        begins = np.minimum(self.sizes, first * self.k1)
        lengths = np.minimum(self.sizes, (last + 1) * self.k1) - begins
        starts = np.cumsum(self.sizes) - self.sizes
        ends_of_range = np.cumsum(lengths)
        offsets = np.arange(lengths.sum()) - np.repeat(ends_of_range - lengths, lengths)
        firsts = [starts + begins, starts + self.sizes - begins - lengths]
        tokens = [torch.from_numpy(np.repeat(first, lengths) + offsets) for first in firsts]
        return tokens[: self.n_directions], lengths.tolist()

    def run(
        self,
        flat: Sequence[torch.Tensor],
        X: torch.Tensor,
        first: int,
        last: int,
        state: State | None,
    ) -> tuple[torch.Tensor, State]:
        """Run the pieces from the first to the last. (N, nI) to (n, directions x units)"""
        tokens, lengths = self.get_range(first, last)
        weights = split_directions(flat, self.n_directions)
        inputs = torch.cat([X[part.to(X.device)] for part in tokens], dim=1)
        return self.run_layer(self.cell, weights, inputs, lengths, state)


class _Truncated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, pieces: _Pieces, n_back: int, X: torch.Tensor, *flat: torch.Tensor
    ) -> torch.Tensor:
        """Run all pieces. (N, nI) to (N, directions x units)"""
        state: State | None = None
        units = flat[1].shape[1]
        Y = X.new_empty(len(X), pieces.n_directions * units)
        ctx.states = []
        for i in range(len(pieces)):
            ctx.states.append(state)
            out, state = pieces.run(flat, X, i, i, state)
            for k, tokens in enumerate(pieces.get_range(i, i)[0]):
                column = slice(k * units, (k + 1) * units)
                Y[tokens.to(Y.device), column] = out[:, column].to(Y.dtype)
        ctx.pieces, ctx.n_back = pieces, n_back
        device = X.device.type
        ctx.autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        # Thinc's optimizer may write to the weights, unseen by torch, before the backward pass.
        ctx.save_for_backward(X, *(parameter.detach().clone() for parameter in flat))
        return Y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        X, *flat = ctx.saved_tensors
        pieces: _Pieces = ctx.pieces
        units = flat[1].shape[1]
        args = [arg.detach().requires_grad_() for arg in (X, *flat)]
        sums = [torch.zeros_like(arg) for arg in args]
        for i in range(len(pieces)):
            first = max(0, i + 1 - ctx.n_back)
            with (
                torch.enable_grad(),
                torch.autocast(X.device.type, enabled=ctx.autocast[0], dtype=ctx.autocast[1]),
            ):
                Y, _ = pieces.run(args[1:], args[0], first, i, ctx.states[first])
            # The outputs of earlier pieces have a turn of their own.
            own, _ = pieces.get_range(i, i)
            dY = torch.zeros_like(Y)
            for k, tokens in enumerate(pieces.get_range(first, i)[0]):
                column = slice(k * units, (k + 1) * units)
                is_own = torch.isin(tokens, own[k]).to(dY.device)
                dY[is_own, column] = grads[0][own[k].to(dY.device), column].to(dY.dtype)
            for total, grad in zip(sums, torch.autograd.grad(Y, args, dY), strict=True):
                total += grad
        return None, None, *sums
