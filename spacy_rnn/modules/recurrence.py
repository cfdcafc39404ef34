"""Recurrent layers on a CPU with gradients: the same functions as torch.nn's, trained faster.

Torch records every time step of its CPU layers as separate operations, and on the way back adds
to the gradient of the recurrent weights at each of them. Here a layer is one operation. Both
directions take a step together, everything that does not depend on the step before is computed
for all steps at once, and the gradient of the recurrent weights is a single matrix product.

Tensors are laid out directions first, tokens in `StepMajor` order: (directions, N, features). The
backward direction gets its input turned round, so that both begin at step 0.
"""

from typing import Any

import torch
from torch import nn

from .batching import StepMajor, permute
from .time_steps import STEPS, GRUSteps, Steps, TimeSteps, find_previous


def run_layer(layer: nn.RNNBase, X: torch.Tensor, layout: StepMajor) -> torch.Tensor:
    """Run one recurrent layer.

    layer (nn.RNNBase): Torch's module with the parameters: LSTM, GRU or RNN, of one layer.
    X (Tensor): The input, in the layout's order. (N, nI)
    layout (StepMajor): Where the sequences' tokens are.
    RETURNS (Tensor): The hidden states, forward half first. (N, directions x hidden)
    """
    suffixes = ("_l0", "_l0_reverse") if layer.bidirectional else ("_l0",)
    weight_ih, weight_hh, bias_ih, bias_hh = (
        torch.stack([getattr(layer, name + suffix) for suffix in suffixes])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    cell_steps, candidate_bias = STEPS[layer.mode], None
    if cell_steps is GRUSteps:
        # The reset gate acts on the candidate's recurrent part together with its bias.
        hidden = layer.hidden_size
        candidate_bias = bias_hh[:, 2 * hidden :]
        bias_hh = torch.cat([bias_hh[:, : 2 * hidden], torch.zeros_like(candidate_bias)], dim=1)

    def turn_round(states: torch.Tensor) -> torch.Tensor:
        return permute(states, layout.mirror, layout.mirror)

    inputs = torch.stack([X, turn_round(X)]) if layer.bidirectional else X.unsqueeze(0)
    bias = (bias_ih + bias_hh).unsqueeze(1)
    gates = torch.baddbmm(bias, inputs, weight_ih.transpose(1, 2))
    Y = _Recurrence.apply(
        gates, weight_hh.transpose(1, 2), candidate_bias, layout.get_steps(), cell_steps
    )
    return torch.cat([Y[0], turn_round(Y[1])], dim=1) if layer.bidirectional else Y[0]


class _Recurrence(torch.autograd.Function):
    """What is left of a recurrent layer once the input has been projected to the gates."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: torch.Tensor,
        weight: torch.Tensor,
        candidate_bias: torch.Tensor | None,
        steps: Steps,
        cell_steps: "type[TimeSteps]",
    ) -> torch.Tensor:
        """Run all time steps.

        gates (Tensor): The gates' input, without the recurrent part. (directions, N, K x hidden)
        weight (Tensor): The recurrent weights. (directions, hidden, K x hidden)
        candidate_bias (Optional[Tensor]): A GRU's inner bias. (directions, hidden)
        steps (List[Tuple[int, int]]): The first packed position of each time step, and the one
            after its last.
        cell_steps (type): The kind of cell.
        RETURNS (Tensor): The hidden states. (directions, N, hidden)
        """
        # Nobody else holds the gates, and the sum that made them needs no result for its
        # gradient: the steps may write over them.
        hidden, saved = cell_steps.forward(gates, weight.contiguous(), candidate_bias, steps)
        ctx.save_for_backward(hidden, weight, *saved)
        ctx.steps, ctx.cell_steps = steps, cell_steps
        return hidden

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, *saved = ctx.saved_tensors
        d_gates, d_recurrent, d_bias = ctx.cell_steps.backward(
            grads[0].clone(), hidden, weight, saved, ctx.steps
        )
        n_first = ctx.steps[0][1]
        before = hidden[:, find_previous(ctx.steps)]
        d_weight = torch.bmm(before.transpose(1, 2), d_recurrent[:, n_first:])
        return d_gates, d_weight, d_bias, None, None
