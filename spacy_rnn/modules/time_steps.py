"""The time steps of each kind of cell, forwards and backwards, for all sequences of a batch and
both directions together: what `recurrence` makes a layer of.

Tensors are laid out directions first, tokens in `StepMajor` order: (directions, N, features).
"""

from collections.abc import Sequence

import torch

# The first packed position of each time step, and the one after its last.
Steps = list[tuple[int, int]]
# Hidden states, and what the way back needs besides.
Forward = tuple[torch.Tensor, tuple[torch.Tensor, ...]]
# The gradients of the gates' input, of the product with the recurrent weights, and of a GRU's
# inner bias.
Backward = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]

# The gradient of what a function has returned, times its derivative: one pass over memory.
_SIGMOID_BACKWARD = torch.ops.aten.sigmoid_backward.grad_input
_TANH_BACKWARD = torch.ops.aten.tanh_backward.grad_input


def find_previous(steps: Steps) -> torch.Tensor:
    """The packed positions of the tokens before those of the second and later steps."""
    sizes = torch.tensor([end - start for start, end in steps])
    offsets = sizes[:-1].repeat_interleave(sizes[1:])
    return torch.arange(len(offsets)) + steps[0][1] - offsets


class TimeSteps:
    """The time steps of one kind of cell, forwards and backwards. `forward` may write over the
    gates it is given, `backward` over the gradient of the hidden states.
    """

    @staticmethod
    def forward(
        gates: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, steps: Steps
    ) -> Forward:
        raise NotImplementedError

    @staticmethod
    def backward(
        grad: torch.Tensor,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        saved: Sequence[torch.Tensor],
        steps: Steps,
    ) -> Backward:
        raise NotImplementedError


class LSTMSteps(TimeSteps):
    """c = f c' + i g and h = o tanh(c), with gates in the order i, f, g, o."""

    @staticmethod
    def forward(
        gates: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, steps: Steps
    ) -> Forward:
        size = weight.shape[1]
        cells = gates.new_empty(*gates.shape[:2], size)
        squashed, hidden = torch.empty_like(cells), torch.empty_like(cells)
        before = 0
        for start, end in steps:
            gate = gates[:, start:end]
            if start:
                gate += torch.bmm(hidden[:, before : before + end - start], weight)
            i, f, g, o = gate.split(size, dim=2)
            gate[:, :, : 2 * size].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            cell = torch.mul(i, g, out=cells[:, start:end])
            if start:
                cell.addcmul_(f, cells[:, before : before + end - start])
            squash = torch.tanh(cell, out=squashed[:, start:end])
            torch.mul(o, squash, out=hidden[:, start:end])
            before = start
        return hidden, (gates, cells, squashed)

    @staticmethod
    def backward(
        grad: torch.Tensor,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        saved: Sequence[torch.Tensor],
        steps: Steps,
    ) -> Backward:
        gates, cells, squashed = saved
        size, n_first = weight.shape[1], steps[0][1]
        i, f, g, o = gates.split(size, dim=2)
        # What each gate's input does to the cell, and the last one's to the hidden state.
        d_gates = torch.empty_like(gates)
        d_i, d_f, d_g, d_o = d_gates.split(size, dim=2)
        d_f[:, :n_first] = 0
        previous = cells[:, find_previous(steps)]
        _SIGMOID_BACKWARD(g, i, grad_input=d_i)
        _SIGMOID_BACKWARD(previous, f[:, n_first:], grad_input=d_f[:, n_first:])
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
                before = steps[step - 1][0]
                grad[:, before : before + end - start] += torch.bmm(gate, weight_t)
                d_cell_next = d_cell.mul_(f[:, start:end])
        return d_gates, d_gates, None


class GRUSteps(TimeSteps):
    """h = (1 - z) n + z h' with n = tanh(x + r (h' U + b)), and gates in the order r, z, n."""

    @staticmethod
    def forward(
        gates: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, steps: Steps
    ) -> Forward:
        size = weight.shape[1]
        hidden = gates.new_empty(*gates.shape[:2], size)
        inner = torch.empty_like(hidden)
        assert bias is not None
        bias = bias.unsqueeze(1)
        before = 0
        for start, end in steps:
            gate = gates[:, start:end]
            r, z, n = gate.split(size, dim=2)
            if start:
                last = hidden[:, before : before + end - start]
                recurrent = torch.bmm(last, weight)
                gate[:, :, : 2 * size] += recurrent[:, :, : 2 * size]
                torch.add(recurrent[:, :, 2 * size :], bias, out=inner[:, start:end])
            else:
                inner[:, start:end] = bias
            gate[:, :, : 2 * size].sigmoid_()
            n.addcmul_(r, inner[:, start:end]).tanh_()
            # (1 - z) n + z h', as n + z (h' - n).
            state = hidden[:, start:end]
            if start:
                torch.lerp(n, last, z, out=state)
            else:
                torch.mul(1 - z, n, out=state)
            before = start
        return hidden, (gates, inner)

    @staticmethod
    def backward(
        grad: torch.Tensor,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        saved: Sequence[torch.Tensor],
        steps: Steps,
    ) -> Backward:
        gates, inner = saved
        size, n_first = weight.shape[1], steps[0][1]
        r, z, n = gates.split(size, dim=2)
        last = torch.zeros_like(hidden)
        last[:, n_first:] = hidden[:, find_previous(steps)]
        # What each gate's input does to the hidden state, the reset gate's through the
        # candidate's; then the same for what is multiplied with the recurrent weights.
        d_gates = torch.empty_like(gates)
        d_r, d_z, d_n = d_gates.split(size, dim=2)
        _TANH_BACKWARD(1 - z, n, grad_input=d_n)
        _SIGMOID_BACKWARD(d_n * inner, r, grad_input=d_r)
        _SIGMOID_BACKWARD(last - n, z, grad_input=d_z)
        d_recurrent = torch.cat([d_gates[:, :, : 2 * size], d_n * r], dim=2)
        weight_t = weight.transpose(1, 2).contiguous()
        for step in range(len(steps) - 1, -1, -1):
            start, end = steps[step]
            d_hidden = grad[:, start:end].unsqueeze(2)
            d_gates[:, start:end].unflatten(2, (3, size)).mul_(d_hidden)
            gate = d_recurrent[:, start:end]
            gate.unflatten(2, (3, size)).mul_(d_hidden)
            if step:
                before = steps[step - 1][0]
                target = grad[:, before : before + end - start]
                target += torch.bmm(gate, weight_t)
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
        cls, gates: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, steps: Steps
    ) -> Forward:
        before = 0
        for start, end in steps:
            gate = gates[:, start:end]
            if start:
                gate += torch.bmm(gates[:, before : before + end - start], weight)
            cls.activate_(gate)
            before = start
        # The result must not be the input: autograd would take it for untouched.
        return gates.clone(), ()

    @classmethod
    def backward(
        cls,
        grad: torch.Tensor,
        hidden: torch.Tensor,
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
                before = steps[step - 1][0]
                grad[:, before : before + end - start] += torch.bmm(gate, weight_t)
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
