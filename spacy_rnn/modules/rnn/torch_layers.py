"""Recurrent layers by torch, on any device: by torch's own layer, or else by the definition of the
cell, step by step.
"""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

import torch
from torch.nn import functional as F

from ..step_major import StepMajor
from .cells import Cell, State
from .permutation import permute


def run_layer(
    cell: Cell,
    weights: Sequence[Sequence[torch.Tensor]],
    X: torch.Tensor,
    lengths: Sequence[int],
    state: State | None = None,
    *,
    max_tokens: int | None = None,
) -> tuple[torch.Tensor, State]:
    """Run one recurrent layer. The backward direction reads each sequence from its end.

    cell (Cell): The kind of cell.
    weights (Sequence[Sequence[Tensor]]): The parameters of each direction, as `get_weights` returns
        them.
    X (Tensor): The tokens of all sequences, one after another: input that the directions share, or
        the input of each direction beside the other's. (N, nI) or (N, directions x nI)
    lengths (Sequence[int]): The number of tokens of each sequence.
    state (Optional[State]): The state before each sequence; None is zero. It gets no gradient.
    max_tokens (Optional[int]): How many tokens to compute at a time, to bound memory.
    RETURNS (Tuple[Tensor, State]): The hidden states, (N, directions x units), and the state after
        each sequence, without gradient. Each (directions, sequences, units)
    """
    # In half precision, the output of torch's CPU layers for a sequence depends on the batch.
    with torch.autocast("cpu", enabled=False):
        return _run_layer(cell, weights, X, lengths, state, max_tokens)


def _run_layer(
    cell: Cell,
    weights: Sequence[Sequence[torch.Tensor]],
    X: torch.Tensor,
    lengths: Sequence[int],
    state: State | None,
    max_tokens: int | None,
) -> tuple[torch.Tensor, State]:
    layout = StepMajor.from_lengths(lengths)
    nI, n_directions = weights[0][0].shape[1], len(weights)
    if state is None:
        zeros = X.new_zeros(n_directions, len(lengths), weights[0][1].shape[1])
        state = (zeros,) * cell.n_states
    if not layout.sizes:
        return X.new_zeros(0, n_directions * state[0].shape[2]), state
    indices = layout.order, layout.inverse, layout.reversed_order, layout.reversed_inverse
    order, inverse, *backward, ranking = (
        torch.from_numpy(index).to(X.device) for index in (*indices, layout.ranking)
    )
    first = tuple(part.index_select(1, ranking) for part in state)
    if cell.torch_layer is not None and X.shape[1] == nI and len(X) <= (max_tokens or len(X)):
        flat = [parameter for direction in weights for parameter in direction]
        Y, last = _call(cell, permute(X, order, inverse), layout.sizes, first, flat)
        Y = permute(Y, inverse, order)
    else:
        halves, states = [], []
        for i, (forth, back) in enumerate([(order, inverse), backward][:n_directions]):
            x = X if X.shape[1] == nI else X[:, i * nI : (i + 1) * nI]
            own = tuple(part[i : i + 1] for part in first)
            run = partial(_run_direction, cell, weights[i], max_tokens or len(X))
            half, own = run(permute(x, forth, back), layout.sizes, own)
            halves.append(permute(half, back, forth))
            states.append(own)
        Y = torch.cat(halves, dim=1)
        last = tuple(torch.cat(parts) for parts in zip(*states, strict=True))
    after = (
        before.index_copy(1, ranking, part.detach().to(before.dtype))
        for before, part in zip(state, last, strict=True)
    )
    return Y, tuple(after)


def _run_direction(
    cell: Cell,
    weights: Sequence[torch.Tensor],
    max_tokens: int,
    X: torch.Tensor,
    sizes: list[int],
    state: State,
) -> tuple[torch.Tensor, State]:
    """Run one direction over time steps of so many sequences, a few steps at a time."""
    run = _run_definition if cell.torch_layer is None else _call
    outputs, ended, begin, offset = [], [], 0, 0
    while begin < len(sizes):
        n_steps = sum(n <= max_tokens for n in accumulate(sizes[begin:])) or 1
        some = sizes[begin : begin + n_steps]
        ended.append(tuple(part[:, some[0] :] for part in state))
        Y, state = run(
            cell,
            X[offset : offset + sum(some)],
            some,
            tuple(part[:, : some[0]].contiguous() for part in state),
            weights,
        )
        outputs.append(Y)
        begin, offset = begin + n_steps, offset + sum(some)
    ended.append(state)
    last = tuple(torch.cat(parts[::-1], dim=1) for parts in zip(*ended, strict=True))
    return torch.cat(outputs), last


def _call(
    cell: Cell, X: torch.Tensor, sizes: list[int], state: State, weights: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, State]:
    """Run torch's layer."""
    assert cell.torch_layer is not None
    Y, *last = getattr(torch, cell.torch_layer[1])(
        X,
        torch.tensor(sizes),
        state if cell.n_states > 1 else state[0],
        weights,
        True,  # biases
        1,  # layers
        0.0,  # dropout
        torch.is_grad_enabled(),
        len(state[0]) == 2,  # bidirectional
    )
    return Y, tuple(last)


def _run_definition(
    cell: Cell, X: torch.Tensor, sizes: list[int], state: State, weights: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, State]:
    """Run the definition of the cell."""
    weight_ih, weight_hh, bias_ih, bias_hh, *extra = weights
    current = tuple(part[0] for part in state)
    outputs, ended = [], []
    for x in F.linear(X, weight_ih, bias_ih).split(sizes):
        ended.append(tuple(part[len(x) :] for part in current))
        current = tuple(part[: len(x)] for part in current)
        current = cell.step(x, F.linear(current[0], weight_hh, bias_hh), current, *extra)
        outputs.append(current[0])
    ended.append(current)
    last = (torch.cat(parts[::-1]).unsqueeze(0) for parts in zip(*ended, strict=True))
    return torch.cat(outputs), tuple(last)
