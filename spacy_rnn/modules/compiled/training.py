"""LSTM layers with gradients, by the compiled kernels: a layer is one operation for torch. What
goes from step to step is theirs; the products over all tokens at once are torch's.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from .sequences import divide, run_directions
from .weights import from_blocks, make_direction, to_rows, weights_for_way_back


def train_layer(layer: nn.RNNBase, X: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """Run one LSTM layer. Torch records it for gradients.

    layer (nn.RNNBase): Torch's module with the parameters: an LSTM of one layer.
    X (Tensor): The tokens of all sequences, one after another. float32, (N, nI)
    lengths (Sequence[int]): The number of tokens of each sequence.
    RETURNS (Tensor): The hidden states, forward half first. (N, directions x hidden)
    """
    weights: list[torch.Tensor] = layer._flat_weights  # type: ignore[assignment]
    return _Layer.apply(lengths, X, *weights)


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, lengths: Sequence[int], X: torch.Tensor, *weights: torch.Tensor
    ) -> torch.Tensor:
        """Run the layer on X (N, nI), with four parameters for each direction."""
        hidden = weights[1].shape[1]
        directions = [
            make_direction("LSTM", *weights[i : i + 4]) for i in range(0, len(weights), 4)
        ]
        inputs = np.ascontiguousarray(X.detach().numpy())
        N = len(inputs)
        Y = np.empty((N, hidden * len(directions)), dtype=np.float32)
        saved = [np.empty((N, part.width), dtype=np.float32) for part in directions]
        cells = [np.empty((N, part.units), dtype=np.float32) for part in directions]
        parts = divide(lengths, directions[0].width * (X.shape[1] + hidden) * len(directions))
        runs = [
            partial(
                direction.forward,
                Y=Y,
                column=i * hidden,
                X=inputs,
                saved=saved[i],
                cells=cells[i],
            )
            for i, direction in enumerate(directions)
        ]
        run_directions(runs, parts)
        Yt = torch.from_numpy(Y)
        # Torch does not see an optimizer of Thinc's write over the weights, which may be before it
        # is time for their gradients.
        kept = [
            weight.detach().clone()
            for i in range(0, len(weights), 4)
            for weight in weights[i : i + 2]
        ]
        ctx.save_for_backward(X, Yt, *kept)
        ctx.directions, ctx.parts, ctx.saved, ctx.cells = directions, parts, saved, cells
        ctx.lengths = lengths
        return Yt

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        X, Y, *weights = ctx.saved_tensors
        weights_ih, weights_hh = weights[::2], weights[1::2]
        hidden = weights_hh[0].shape[1]
        dY = np.ascontiguousarray(grads[0].numpy())
        d_gates = [np.empty_like(saved) for saved in ctx.saved]
        back = list(map(weights_for_way_back, weights_hh))
        runs = [
            partial(
                direction.backward,
                dY=dY,
                column=i * hidden,
                saved=ctx.saved[i],
                cells=ctx.cells[i],
                weights=back[i],
                d_gates=d_gates[i],
            )
            for i, direction in enumerate(ctx.directions)
        ]
        run_directions(runs, ctx.parts)
        dX: torch.Tensor | None = None
        d_weights: list[torch.Tensor] = []
        for i, gates in enumerate(map(torch.from_numpy, d_gates)):
            factor = to_rows(weights_ih[i])
            dX = gates @ factor if dX is None else dX.addmm_(gates, factor)
            before = get_states_before(Y[:, i * hidden : (i + 1) * hidden], ctx.lengths, i == 1)
            d_bias = from_blocks(gates.sum(dim=0).unsqueeze(1), hidden)[:, 0]
            d_weights += [
                from_blocks(gates.t() @ X, hidden),
                from_blocks(gates.t() @ before, hidden),
                d_bias,
                d_bias.clone(),
            ]
        return None, dX, *d_weights


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
