"""The time steps of each kind of cell, forwards and backwards, for all sequences of a batch and
both directions together: what `recurrence` makes a layer of.

Tensors are laid out directions first, tokens in `StepMajor` order: (directions, N, features).
"""

from collections.abc import Sequence

import torch

from ..step_major import Steps, find_previous

# What a step needs of the one before: hidden states and, in an LSTM, cells, with a row for each
# sequence. Each (directions, rows, hidden)
State = tuple[torch.Tensor, ...]
# Hidden states, what the way back needs besides, and the state after the last step, of the
# sequences that have that step.
Forward = tuple[torch.Tensor, tuple[torch.Tensor, ...], State]
# The gradients of the gates' input, of the product with the recurrent weights, and of a GRU's
# inner bias.
Backward = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]

# The gradient of what a function has returned, times its derivative: one pass over memory.
_SIGMOID_BACKWARD = torch.ops.aten.sigmoid_backward.grad_input
_TANH_BACKWARD = torch.ops.aten.tanh_backward.grad_input


def is_rectangle(steps: Steps) -> bool:
    """RETURNS (bool): Whether all sequences have all of the steps."""
    return steps[0][1] * len(steps) == steps[-1][1]


def multiply(X: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Multiply in the precision of the second factor, which is where mixed precision comes in: what
    is added up over time stays in that of the first.
    """
    return torch.bmm(X.to(weight.dtype), weight)


def shift(states: torch.Tensor, steps: Steps, first: torch.Tensor | None) -> torch.Tensor:
    """For each token, the state before it.

    states (Tensor): The state of each token. (directions, N, hidden)
    steps (List[Tuple[int, int]]): The time steps.
    first (Optional[Tensor]): The state before the first step; None is zero.
        (directions, rows, hidden)
    RETURNS (Tensor): The states before. (directions, N, hidden)
    """
    n_first = steps[0][1]
    if first is None:
        first = states.new_zeros(len(states), n_first, states.shape[2])
    return torch.cat([first, states[:, find_previous(steps)]], dim=1)


def _copy(state: State | None) -> State:
    # Views would keep all of a layer's states in memory.
    assert state is not None
    return tuple(part.clone() for part in state)


class TimeSteps:
    """The time steps of one kind of cell, forwards and backwards. `forward` begins with a state, of
    at least as many sequences as the first step has, or with zeros, and may write over the gates
    it is given. `backward` takes the hidden states and those before them, may write over their
    gradient, and goes back no further than the first step.
    """

    @staticmethod
    def forward(
        gates: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        steps: Steps,
        state: State | None = None,
    ) -> Forward:
        raise NotImplementedError

    @staticmethod
    def backward(
        grad: torch.Tensor,
        hidden: torch.Tensor,
        before: torch.Tensor,
        weight: torch.Tensor,
        saved: Sequence[torch.Tensor],
        steps: Steps,
    ) -> Backward:
        raise NotImplementedError


class LSTMSteps(TimeSteps):
    """c = f c' + i g and h = o tanh(c), with gates in the order i, f, g, o."""

    @staticmethod
    def forward(
        gates: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        steps: Steps,
        state: State | None = None,
    ) -> Forward:
        size = weight.shape[1]
        cells = gates.new_empty(*gates.shape[:2], size)
        squashed, hidden = torch.empty_like(cells), torch.empty_like(cells)
        first_cell = None if state is None else state[1][:, : steps[0][1]]
        last = state
        for start, end in steps:
            gate = gates[:, start:end]
            if last is not None:
                gate += multiply(last[0][:, : end - start], weight)
            i, f, g, o = gate.split(size, dim=2)
            gate[:, :, : 2 * size].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            cell = torch.mul(i, g, out=cells[:, start:end])
            if last is not None:
                cell.addcmul_(f, last[1][:, : end - start])
            squash = torch.tanh(cell, out=squashed[:, start:end])
            last = (torch.mul(o, squash, out=hidden[:, start:end]), cell)
        return hidden, (gates, shift(cells, steps, first_cell), squashed), _copy(last)

    @staticmethod
    def backward(
        grad: torch.Tensor,
        hidden: torch.Tensor,
        before: torch.Tensor,
        weight: torch.Tensor,
        saved: Sequence[torch.Tensor],
        steps: Steps,
    ) -> Backward:
        gates, previous, squashed = saved
        size = weight.shape[1]
        i, f, g, o = gates.split(size, dim=2)
        # What each gate's input does to the cell, and the last one's to the hidden state.
        d_gates = torch.empty_like(gates)
        d_i, d_f, d_g, d_o = d_gates.split(size, dim=2)
        _SIGMOID_BACKWARD(g, i, grad_input=d_i)
        _SIGMOID_BACKWARD(previous, f, grad_input=d_f)
        _TANH_BACKWARD(i, g, grad_input=d_g)
        _SIGMOID_BACKWARD(squashed, o, grad_input=d_o)
        d_squashed = torch.ops.aten.tanh_backward(o, squashed)
        weight_t = weight.transpose(1, 2).contiguous()
        d_cell_next: torch.Tensor | None = None
        for step in range(len(steps) - 1, -1, -1):
            start, end = steps[step]
            d_hidden, gate = grad[:, start:end], d_gates[:, start:end]
            d_cell = d_squashed[:, start:end].mul_(d_hidden)
            if d_cell_next is not None:
                d_cell[:, : d_cell_next.shape[1]] += d_cell_next
            gate[:, :, 3 * size :].mul_(d_hidden)
            gate[:, :, : 3 * size].unflatten(2, (3, size)).mul_(d_cell.unsqueeze(2))
            if step:
                earlier = steps[step - 1][0]
                grad[:, earlier : earlier + end - start] += multiply(gate, weight_t)
                d_cell_next = d_cell.mul_(f[:, start:end])
        return d_gates, d_gates, None


class GRUSteps(TimeSteps):
    """h = (1 - z) n + z h' with n = tanh(x + r (h' U + b)), and gates in the order r, z, n."""

    @staticmethod
    def forward(
        gates: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        steps: Steps,
        state: State | None = None,
    ) -> Forward:
        size = weight.shape[1]
        hidden = gates.new_empty(*gates.shape[:2], size)
        inner = torch.empty_like(hidden)
        assert bias is not None
        bias = bias.unsqueeze(1)
        last = None if state is None else state[0]
        for start, end in steps:
            gate = gates[:, start:end]
            r, z, n = gate.split(size, dim=2)
            if last is not None:
                last = last[:, : end - start]
                recurrent = multiply(last, weight)
                gate[:, :, : 2 * size] += recurrent[:, :, : 2 * size]
                torch.add(recurrent[:, :, 2 * size :], bias, out=inner[:, start:end])
            else:
                inner[:, start:end] = bias
            gate[:, :, : 2 * size].sigmoid_()
            n.addcmul_(r, inner[:, start:end]).tanh_()
            # (1 - z) n + z h', as n + z (h' - n).
            out = hidden[:, start:end]
            last = torch.mul(1 - z, n, out=out) if last is None else torch.lerp(n, last, z, out=out)
        return hidden, (gates, inner), _copy((hidden[:, start:end],))

    @staticmethod
    def backward(
        grad: torch.Tensor,
        hidden: torch.Tensor,
        before: torch.Tensor,
        weight: torch.Tensor,
        saved: Sequence[torch.Tensor],
        steps: Steps,
    ) -> Backward:
        gates, inner = saved
        size = weight.shape[1]
        r, z, n = gates.split(size, dim=2)
        # What each gate's input does to the hidden state, the reset gate's through the
        # candidate's; then the same for what is multiplied with the recurrent weights.
        d_gates = torch.empty_like(gates)
        d_r, d_z, d_n = d_gates.split(size, dim=2)
        _TANH_BACKWARD(1 - z, n, grad_input=d_n)
        _SIGMOID_BACKWARD(d_n * inner, r, grad_input=d_r)
        _SIGMOID_BACKWARD(before - n, z, grad_input=d_z)
        d_recurrent = torch.cat([d_gates[:, :, : 2 * size], d_n * r], dim=2)
        weight_t = weight.transpose(1, 2).contiguous()
        for step in range(len(steps) - 1, -1, -1):
            start, end = steps[step]
            d_hidden = grad[:, start:end].unsqueeze(2)
            d_gates[:, start:end].unflatten(2, (3, size)).mul_(d_hidden)
            gate = d_recurrent[:, start:end]
            gate.unflatten(2, (3, size)).mul_(d_hidden)
            if step:
                earlier = steps[step - 1][0]
                target = grad[:, earlier : earlier + end - start]
                target += multiply(gate, weight_t)
                target.addcmul_(grad[:, start:end], z[:, start:end])
        return d_gates, d_recurrent, d_recurrent[:, :, 2 * size :].sum(dim=1)


class ElmanSteps(TimeSteps):
    """h = tanh(x + h' U)."""

    @staticmethod
    def activate_(state: torch.Tensor) -> torch.Tensor:
        return state.tanh_()

    @staticmethod
    def derivative(hidden: torch.Tensor) -> torch.Tensor:
        """The activation's derivative, as a function of its result."""
        return 1 - hidden * hidden

    @classmethod
    def forward(
        cls,
        gates: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        steps: Steps,
        state: State | None = None,
    ) -> Forward:
        last = None if state is None else state[0]
        for start, end in steps:
            gate = gates[:, start:end]
            if last is not None:
                gate += multiply(last[:, : end - start], weight)
            last = cls.activate_(gate)
        # The result must not be the input: autograd would take it for untouched.
        return gates.clone(), (), _copy((gates[:, start:end],))

    @classmethod
    def backward(
        cls,
        grad: torch.Tensor,
        hidden: torch.Tensor,
        before: torch.Tensor,
        weight: torch.Tensor,
        saved: Sequence[torch.Tensor],
        steps: Steps,
    ) -> Backward:
        derivative = cls.derivative(hidden)
        weight_t = weight.transpose(1, 2).contiguous()
        for step in range(len(steps) - 1, -1, -1):
            start, end = steps[step]
            gate = grad[:, start:end].mul_(derivative[:, start:end])
            if step:
                earlier = steps[step - 1][0]
                grad[:, earlier : earlier + end - start] += multiply(gate, weight_t)
        return grad, grad, None


class IRNNSteps(ElmanSteps):
    """h = max(0, x + h' U)."""

    @staticmethod
    def activate_(state: torch.Tensor) -> torch.Tensor:
        return state.relu_()

    @staticmethod
    def derivative(hidden: torch.Tensor) -> torch.Tensor:
        return (hidden > 0).to(hidden.dtype)


STEPS: dict[str, type[TimeSteps]] = {
    "LSTM": LSTMSteps,
    "GRU": GRUSteps,
    "RNN_TANH": ElmanSteps,
    "RNN_RELU": IRNNSteps,
}
