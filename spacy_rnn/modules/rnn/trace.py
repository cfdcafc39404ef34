"""Recurrent layers by the definition of their cell, step by step, so that states and gates can be
seen, changed and differentiated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional as F

from ..step_major import StepMajor
from .cells import Cell, Gates, State
from .encoder_stack import EncoderStack
from .lm_stack import LMStack

# Changes the hidden states of a step. (N, units) to (N, units)
Change = Callable[[torch.Tensor], torch.Tensor]


class Steps(Protocol):
    """Tokens in the order of time steps: first all tokens of the first step, then of the second.

    starts (ndarray): The first token of each step, and the end of the last. (steps + 1,)
    previous (ndarray): For each token from the second step on, the token read before it.
    """

    @property
    def starts(self) -> np.ndarray: ...

    @property
    def previous(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Trace:
    """The states and gates of one direction of a layer. Each array is (N, units).

    hidden (Tensor): The hidden states.
    cell (Optional[Tensor]): The cell states, if the cell has them.
    gates (Dict[str, Tensor]): The gates and the candidate, by name.
    """

    hidden: torch.Tensor
    cell: torch.Tensor | None
    gates: Gates

    def to_arrays(self) -> dict[str, np.ndarray]:
        """RETURNS (Dict[str, ndarray]): All values by name: "hidden", "cell" and the gates."""
        cell = {} if self.cell is None else {"cell": self.cell}
        named = {"hidden": self.hidden, **cell, **self.gates}
        return {name: values.detach().float().cpu().numpy() for name, values in named.items()}


def trace_direction(
    cell: Cell,
    weights: Sequence[torch.Tensor],
    x: torch.Tensor,
    steps: Steps,
    change: Change | None = None,
    *,
    hidden_only: bool = False,
    watch: Callable[[State], None] | None = None,
) -> Trace:
    """Run one direction of a layer.

    cell (Cell): The kind of cell.
    weights (Sequence[Tensor]): Its parameters, as `get_weights` of `layer.py` returns them.
    x (Tensor): The input times its weights, plus their bias, in the order of steps.
        (N, gates x units)
    steps (Steps): Which token follows which.
    change (Optional[Callable]): Changes the hidden states of each step before they are read.
    hidden_only (bool): Whether to leave out cell states and gates.
    watch (Optional[Callable]): Is called with the state after each step.
    RETURNS (Trace): The states and gates, in the order of steps.
    """
    _, weight_hh, _, bias_hh, *extra = weights
    starts, previous = steps.starts.tolist(), torch.from_numpy(steps.previous).to(x.device)
    states: list[State] = []
    gates: list[Gates] = []
    # Without tokens, one step over none of them.
    for t, rows in enumerate(x.split(np.diff(steps.starts).tolist() or [0])):
        if t:
            # The tokens before are all of the last step.
            before = previous[starts[t] - starts[1] : starts[t + 1] - starts[1]] - starts[t - 1]
            state = tuple(part.index_select(0, before) for part in states[-1])
        else:
            state = (x.new_zeros(len(rows), weight_hh.shape[1]),) * cell.n_states
        u = F.linear(state[0], weight_hh, bias_hh)
        state, some = cell.step_with_gates(rows, u, state, *extra)
        if change is not None:
            state = (change(state[0]), *state[1:])
        if watch is not None:
            watch(state)
        states.append(state)
        if not hidden_only:
            gates.append(some)
    if hidden_only:
        return Trace(torch.cat([state[0] for state in states]), None, {})
    hidden, *cells = (torch.cat(parts) for parts in zip(*states, strict=True))
    return Trace(
        hidden,
        cells[0] if cells else None,
        {name: torch.cat([some[name] for some in gates]) for name in gates[0]},
    )


class TracedStack:
    """The layers of a stack over a batch.

    cell (Cell): The kind of cell.
    weights (List[List[List[Tensor]]]): The parameters of each direction of each layer.
    finish (Callable[[int, Tensor, Tensor], Tensor]): Makes a layer's output from its number, its
        input and its hidden states.
    steps (Steps): Which token follows which.
    orders (Sequence[Optional[ndarray]]): For each direction, the flat position of each token in
        the order of steps. None where the batch is in that order.
    """

    def __init__(
        self,
        cell: Cell,
        weights: Sequence[Sequence[Sequence[torch.Tensor]]],
        finish: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor],
        steps: Steps,
        orders: Sequence[np.ndarray | None],
    ):
        self.cell, self.weights, self.finish, self.steps = cell, weights, finish, steps
        self._orders = [None if order is None else torch.from_numpy(order) for order in orders]

    def project(self, i: int, direction: int, X: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): A layer's input times its weights, in the order of steps. (N, width)"""
        order = self._orders[direction]
        weight_ih, _, bias_ih, *_ = self.weights[i][direction]
        return F.linear(X if order is None else X[order.to(X.device)], weight_ih, bias_ih)

    def trace(
        self,
        i: int,
        direction: int,
        x: torch.Tensor,
        change: Change | None = None,
        *,
        hidden_only: bool = False,
    ) -> Trace:
        """Run one direction of a layer.

        i, direction (int): The layer and the direction.
        x (Tensor): What `project` returned.
        change, hidden_only: As in `trace_direction`.
        RETURNS (Trace): The states and gates, in the order of the batch.
        """
        weights = self.weights[i][direction]
        found = trace_direction(self.cell, weights, x, self.steps, change, hidden_only=hidden_only)
        order = self._orders[direction]
        if order is None:
            return found
        inverse = torch.argsort(order).to(x.device)
        return Trace(
            found.hidden[inverse],
            None if found.cell is None else found.cell[inverse],
            {name: values[inverse] for name, values in found.gates.items()},
        )

    def run(self, X: torch.Tensor, first: int = 0) -> tuple[list[torch.Tensor], list[list[Trace]]]:
        """Run layers.

        X (Tensor): The input of the first of them. (N, nI)
        first (int): The number of that layer.
        RETURNS (Tuple[List[Tensor], List[List[Trace]]]): The input and each layer's output, and the
            trace of each direction of each layer.
        """
        outputs, traces = [X], []
        for i in range(first, len(self.weights)):
            found = [
                self.trace(i, k, self.project(i, k, outputs[-1]))
                for k in range(len(self.weights[i]))
            ]
            hidden = torch.cat([trace.hidden for trace in found], dim=1)
            outputs.append(self.finish(i, outputs[-1], hidden))
            traces.append(found)
        return outputs, traces


def trace_encoder(stack: EncoderStack, lengths: Sequence[int]) -> TracedStack:
    """RETURNS (TracedStack): The layers of an encoder over sequences of these lengths."""
    layout = StepMajor.from_lengths(lengths)
    weights = stack.get_weights()
    orders = [layout.order, layout.reversed_order][: len(weights[0])]
    return TracedStack(stack.cell, weights, stack.finish_layer, layout, orders)


def trace_lm(
    stack: LMStack, direction: int, steps: Steps, order: np.ndarray | None = None
) -> TracedStack:
    """Trace one direction of a language model. The tokens of the first step should be boundaries.

    stack (LMStack): The layers.
    direction (int): 0 reads from the left, 1 from the right.
    steps (Steps): Which token follows which.
    order (Optional[ndarray]): As in `TracedStack`.
    RETURNS (TracedStack): The layers of this direction.
    """
    weights = [[own[direction]] for own in stack.get_weights()]
    finish = partial(_finish_lm, stack, direction)
    return TracedStack(stack.cell, weights, finish, steps, [order])


def _finish_lm(
    stack: LMStack, direction: int, i: int, X: torch.Tensor, H: torch.Tensor
) -> torch.Tensor:
    if stack.projections:
        H = H @ stack.projections[i][direction]
    return X + H if stack.residual and i else H
