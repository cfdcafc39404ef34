"""Recurrent layers on a CPU with gradients: the same functions as torch.nn's, trained faster.

Torch records every time step of its CPU layers as separate operations, and on the way back adds
to the gradient of the recurrent weights at each of them. Here a layer is one operation. Both
directions take a step together, everything that does not depend on the step before is computed
for all steps at once, and the gradient of the recurrent weights is a single matrix product.

Tensors are laid out directions first, tokens in `StepMajor` order: (directions, N, features). The
backward direction gets its input turned round, so that both begin at step 0.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..step_major import StepMajor, Steps, permute
from .time_steps import STEPS, GRUSteps, State, TimeSteps, shift


def run_layer(layer: nn.RNNBase, X: torch.Tensor, layout: StepMajor) -> torch.Tensor:
    """Run one recurrent layer.

    layer (nn.RNNBase): Torch's module with the parameters: LSTM, GRU or RNN, of one layer.
    X (Tensor): The input, in the layout's order. (N, nI)
    layout (StepMajor): Where the sequences' tokens are.
    RETURNS (Tensor): The hidden states, forward half first. (N, directions x hidden)
    """
    inputs = stack_directions(layer, X, layout)
    Y, _ = run_steps(layer.mode, inputs, stack_weights(layer), layout.get_steps())
    return join_directions(Y, layout)


def stack_directions(layer: nn.RNNBase, X: torch.Tensor, layout: StepMajor) -> torch.Tensor:
    """Lay out the input for both directions.

    layer (nn.RNNBase): The layer.
    X (Tensor): The input, in the layout's order. (N, nI)
    layout (StepMajor): Where the sequences' tokens are.
    RETURNS (Tensor): The input, and turned round for the backward direction if there is one.
        (directions, N, nI)
    """
    if not layer.bidirectional:
        return X.unsqueeze(0)
    return torch.stack([X, permute(X, layout.mirror, layout.mirror)])


def join_directions(Y: torch.Tensor, layout: StepMajor) -> torch.Tensor:
    """Put both directions' hidden states side by side, those of each token. (directions, N,
    hidden) to (N, directions x hidden)
    """
    if len(Y) == 1:
        return Y[0]
    return torch.cat([Y[0], permute(Y[1], layout.mirror, layout.mirror)], dim=1)


def stack_weights(layer: nn.RNNBase) -> list[torch.Tensor]:
    """RETURNS (List[Tensor]): The input weights, recurrent weights, input biases and recurrent
    biases of a layer. Each (directions, ...)
    """
    suffixes = ("_l0", "_l0_reverse") if layer.bidirectional else ("_l0",)
    return [
        torch.stack([getattr(layer, name + suffix) for suffix in suffixes])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]


def run_steps(
    mode: str,
    inputs: torch.Tensor,
    weights: Sequence[torch.Tensor],
    steps: Steps,
    state: State | None = None,
) -> tuple[torch.Tensor, State]:
    """Run time steps of both directions.

    mode (str): The kind of cell, as torch calls it.
    inputs (Tensor): The input. (directions, N, nI)
    weights (Sequence[Tensor]): What `stack_weights` returned.
    steps (List[Tuple[int, int]]): The first packed position of each time step, and the one after
        its last.
    state (Optional[State]): The state before the first step; None is zero. It gets no gradient.
    RETURNS (Tuple[Tensor, State]): The hidden states, (directions, N, hidden), and the state after
        the last step, without gradient.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    cell_steps, candidate_bias = STEPS[mode], None
    if cell_steps is GRUSteps:
        # The reset gate acts on the candidate's recurrent part together with its bias.
        hidden = weight_hh.shape[2]
        candidate_bias = bias_hh[:, 2 * hidden :]
        bias_hh = torch.cat([bias_hh[:, : 2 * hidden], torch.zeros_like(candidate_bias)], dim=1)
    bias = (bias_ih + bias_hh).unsqueeze(1)
    dtype = get_product_dtype(inputs)
    with torch.autocast(inputs.device.type, enabled=False):
        factors = (bias, inputs, weight_ih.transpose(1, 2))
        gates = torch.baddbmm(*(factor.to(dtype) for factor in factors)).to(bias.dtype)
        weight = weight_hh.transpose(1, 2).to(dtype)
        Y, *last = _Recurrence.apply(gates, weight, candidate_bias, steps, cell_steps, state)
    return Y, tuple(last)


def get_product_dtype(X: torch.Tensor) -> torch.dtype:
    """RETURNS (torch.dtype): The precision of matrix products: that of the input, or what autocast
    asks for.
    """
    device = X.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else X.dtype


class _Recurrence(torch.autograd.Function):
    """What is left of a recurrent layer once the input has been projected to the gates."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: torch.Tensor,
        weight: torch.Tensor,
        candidate_bias: torch.Tensor | None,
        steps: Steps,
        cell_steps: type[TimeSteps],
        state: State | None,
    ) -> tuple[torch.Tensor, ...]:
        """Run all time steps.

        gates (Tensor): The gates' input, without the recurrent part. (directions, N, K x hidden)
        weight (Tensor): The recurrent weights. (directions, hidden, K x hidden)
        candidate_bias (Optional[Tensor]): A GRU's inner bias. (directions, hidden)
        steps (List[Tuple[int, int]]): The first packed position of each time step, and the one
            after its last.
        cell_steps (type): The kind of cell.
        state (Optional[State]): The state before the first step.
        RETURNS (Tuple[Tensor, ...]): The hidden states, (directions, N, hidden), and the state
            after the last step.
        """
        # Nobody else holds the gates, and the sum that made them needs no result for its
        # gradient: the steps may write over them.
        hidden, saved, last = cell_steps.forward(
            gates, weight.contiguous(), candidate_bias, steps, state
        )
        first = None if state is None else state[0][:, : steps[0][1]]
        ctx.save_for_backward(hidden, weight, first, *saved)
        ctx.mark_non_differentiable(*last)
        ctx.steps, ctx.cell_steps = steps, cell_steps
        return hidden, *last

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, first, *saved = ctx.saved_tensors
        before = shift(hidden, ctx.steps, first)
        d_gates, d_recurrent, d_bias = ctx.cell_steps.backward(
            grads[0].clone(), hidden, before, weight, saved, ctx.steps
        )
        dtype = weight.dtype
        d_weight = torch.bmm(before.transpose(1, 2).to(dtype), d_recurrent.to(dtype))
        return d_gates, d_weight, d_bias, None, None, None
