"""Recurrent cells. A cell is one class here: its parameters, its definition, and what runs it fast.

To add one, derive it from `Cell` and put it into `CELLS`: then any config can name it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

# What a step passes on to the next: the hidden state and, in an LSTM, the cell state. In a step
# each is (sequences, units), in a layer (directions, sequences, units).
State = tuple["Tensor", ...]
# The values of gates by name. In a step each is (sequences, units).
Gates = dict[str, "Tensor"]


class Cell:
    """A kind of recurrent cell. Weights are torch's: a matrix of `gates` x units rows for the
    input, one for the hidden state, and a bias for each.

    gates (int): How many blocks of units its weights consist of.
    n_states (int): 2 if it has a cell state beside the hidden state.
    extra (int): How many more parameters each unit has, which `step` gets.
    forget_gate (Optional[int]): The gate whose bias starts at one (Jozefowicz et al. 2015).
    torch_layer (Optional[Tuple[str, str]]): Torch's layer of the same definition, if it has one:
        the class in `torch.nn`, and the function in `torch` that runs it.
    torch_settings (Dict[str, Any]): More arguments of that class.
    kernel (Optional[str]): The compiled kernel of the same definition, if there is one.
    """

    gates: ClassVar[int]
    n_states: ClassVar[int] = 1
    extra: ClassVar[int] = 0
    forget_gate: ClassVar[int | None] = None
    torch_layer: ClassVar[tuple[str, str] | None] = None
    torch_settings: ClassVar[dict[str, Any]] = {}
    kernel: ClassVar[str | None] = None

    def step(self, x: "Tensor", u: "Tensor", state: State, *extra: "Tensor") -> State:
        """Compute one time step: the definition, for torch to differentiate.

        x (Tensor): The input times its weights, plus their bias. (sequences, gates x units)
        u (Tensor): The same of the hidden state.
        state (Tuple[Tensor, ...]): The state before. Each (sequences, units)
        extra (Tensor): The extra parameters, if the cell has some. (extra, units)
        RETURNS (Tuple[Tensor, ...]): The state after.
        """
        raise NotImplementedError

    def step_with_gates(
        self, x: "Tensor", u: "Tensor", state: State, *extra: "Tensor"
    ) -> tuple[State, Gates]:
        """RETURNS (Tuple[State, Dict[str, Tensor]]): What `step` returns, and the cell's gates and
        candidate, if it has some.
        """
        return self.step(x, u, state, *extra), {}

    def init_input(self, weight: "Tensor") -> None:
        """Initialise one gate's weights for the input, (units, nI), as Glorot & Bengio (2010)."""
        from torch import nn

        nn.init.xavier_uniform_(weight)

    def init_recurrent(self, weight: "Tensor") -> None:
        """Initialise one gate's weights for the hidden state, (units, units), orthogonally (Saxe et
        al. 2014).
        """
        from torch import nn

        nn.init.orthogonal_(weight)


class GatedCell(Cell):
    """A cell with gates. Its definition is `step_with_gates`."""

    def step(self, x: "Tensor", u: "Tensor", state: State, *extra: "Tensor") -> State:
        return self.step_with_gates(x, u, state, *extra)[0]


class LSTM(GatedCell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""

    gates, n_states, forget_gate, kernel = 4, 2, 1, "lstm"
    torch_layer = "LSTM", "lstm"

    def step_with_gates(
        self, x: "Tensor", u: "Tensor", state: State, *extra: "Tensor"
    ) -> tuple[State, Gates]:
        i, f, g, o = (x + u).chunk(4, dim=1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * state[1] + i * g
        return (o * c.tanh(), c), {"input": i, "forget": f, "candidate": g, "output": o}


class PeepholeLSTM(GatedCell):
    """An LSTM whose gates see the cell state (Gers & Schmidhuber 2000; Graves 2013)."""

    gates, n_states, extra, forget_gate, kernel = 4, 2, 3, 1, "lstm_peephole"

    def step_with_gates(
        self, x: "Tensor", u: "Tensor", state: State, *extra: "Tensor"
    ) -> tuple[State, Gates]:
        (p_i, p_f, p_o), (_, c) = extra[0], state
        i, f, g, o = (x + u).chunk(4, dim=1)
        i, f, g = (i + p_i * c).sigmoid(), (f + p_f * c).sigmoid(), g.tanh()
        c = f * c + i * g
        o = (o + p_o * c).sigmoid()
        return (o * c.tanh(), c), {"input": i, "forget": f, "candidate": g, "output": o}


class CoupledLSTM(GatedCell):
    """An LSTM whose input gate is one minus the forget gate (Greff et al. 2016)."""

    gates, n_states, forget_gate, kernel = 3, 2, 0, "lstm_coupled"

    def step_with_gates(
        self, x: "Tensor", u: "Tensor", state: State, *extra: "Tensor"
    ) -> tuple[State, Gates]:
        f, g, o = (x + u).chunk(3, dim=1)
        f, g, o = f.sigmoid(), g.tanh(), o.sigmoid()
        c = g.lerp(state[1], f)
        return (o * c.tanh(), c), {"forget": f, "candidate": g, "output": o}


class GRU(GatedCell):
    """A gated recurrent unit (Cho et al. 2014), whose reset gate acts on the product with the
    hidden state, as cuDNN has it.
    """

    gates, kernel = 3, "gru"
    torch_layer = "GRU", "gru"

    def step_with_gates(
        self, x: "Tensor", u: "Tensor", state: State, *extra: "Tensor"
    ) -> tuple[State, Gates]:
        (x_r, x_z, x_n), (u_r, u_z, u_n) = x.chunk(3, dim=1), u.chunk(3, dim=1)
        r, z = (x_r + u_r).sigmoid(), (x_z + u_z).sigmoid()
        n = (x_n + r * u_n).tanh()
        return (n.lerp(state[0], z),), {"reset": r, "update": z, "candidate": n}


class Elman(Cell):
    """A plain recurrent network with tanh (Elman 1990)."""

    gates, kernel = 1, "elman"
    torch_layer = "RNN", "rnn_tanh"

    def step(self, x: "Tensor", u: "Tensor", state: State, *extra: "Tensor") -> State:
        return ((x + u).tanh(),)


class IRNN(Cell):
    """A plain recurrent network of rectified units that starts as the identity (Le et al. 2015, "A
    Simple Way to Initialize Recurrent Networks of Rectified Linear Units").
    """

    gates, kernel = 1, "irnn"
    torch_layer = "RNN", "rnn_relu"
    torch_settings: ClassVar = {"nonlinearity": "relu"}

    def step(self, x: "Tensor", u: "Tensor", state: State, *extra: "Tensor") -> State:
        return ((x + u).relu(),)

    def init_input(self, weight: "Tensor") -> None:
        weight.normal_(std=0.001)

    def init_recurrent(self, weight: "Tensor") -> None:
        weight.zero_().fill_diagonal_(1.0)


CELLS: dict[str, Cell] = {
    "lstm": LSTM(),
    "lstm_peephole": PeepholeLSTM(),
    "lstm_coupled": CoupledLSTM(),
    "gru": GRU(),
    "elman": Elman(),
    "irnn": IRNN(),
}


def has_kernel(settings: Mapping[str, Any]) -> bool:
    """RETURNS (bool): Whether there is a compiled kernel for the cell of a network's settings."""
    return CELLS[settings["cell"]].kernel is not None
