"""Recurrent cells. A cell is one class here: its parameters, its definition, and what runs it fast.

To add one, derive it from `Cell` and put it into `CELLS`: then any config can name it.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn

# What a step passes on to the next: the hidden state and, in an LSTM, the cell state. In a step
# each is (sequences, units), in a layer (directions, sequences, units).
State = tuple[torch.Tensor, ...]


class Cell:
    """A kind of recurrent cell. Weights are torch's: a matrix of `gates` x units rows for the
    input, one for the hidden state, and a bias for each.

    gates (int): How many blocks of units its weights consist of.
    n_states (int): 2 if it has a cell state beside the hidden state.
    extra (int): How many more parameters each unit has, which `step` gets.
    forget_gate (Optional[int]): The gate whose bias starts at one (Jozefowicz et al. 2015).
    make_layer (Optional[Callable]): Makes torch's layer of the same definition, if it has one.
    function (Optional[Callable]): Runs it.
    kernel (Optional[str]): The compiled kernel of the same definition, if there is one.
    """

    gates: ClassVar[int]
    n_states: ClassVar[int] = 1
    extra: ClassVar[int] = 0
    forget_gate: ClassVar[int | None] = None
    make_layer: ClassVar[Callable[..., nn.RNNBase] | None] = None
    function: ClassVar[Callable[..., tuple[torch.Tensor, ...]] | None] = None
    kernel: ClassVar[str | None] = None

    def step(self, x: torch.Tensor, u: torch.Tensor, state: State, *extra: torch.Tensor) -> State:
        """Compute one time step: the definition, for torch to differentiate.

        x (Tensor): The input times its weights, plus their bias. (sequences, gates x units)
        u (Tensor): The same of the hidden state.
        state (Tuple[Tensor, ...]): The state before. Each (sequences, units)
        extra (Tensor): The extra parameters, if the cell has some. (extra, units)
        RETURNS (Tuple[Tensor, ...]): The state after.
        """
        raise NotImplementedError

    def init_input(self, weight: torch.Tensor) -> None:
        """Initialise one gate's weights for the input, (units, nI), as Glorot & Bengio (2010)."""
        nn.init.xavier_uniform_(weight)

    def init_recurrent(self, weight: torch.Tensor) -> None:
        """Initialise one gate's weights for the hidden state, (units, units), orthogonally (Saxe et
        al. 2014).
        """
        nn.init.orthogonal_(weight)


class LSTM(Cell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""

    gates, n_states, forget_gate, kernel = 4, 2, 1, "lstm"
    make_layer = nn.LSTM
    function = staticmethod(torch.lstm)

    def step(self, x: torch.Tensor, u: torch.Tensor, state: State, *extra: torch.Tensor) -> State:
        i, f, g, o = (x + u).chunk(4, dim=1)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class PeepholeLSTM(Cell):
    """An LSTM whose gates see the cell state (Gers & Schmidhuber 2000; Graves 2013)."""

    gates, n_states, extra, forget_gate, kernel = 4, 2, 3, 1, "lstm_peephole"

    def step(self, x: torch.Tensor, u: torch.Tensor, state: State, *extra: torch.Tensor) -> State:
        (p_i, p_f, p_o), (_, c) = extra[0], state
        i, f, g, o = (x + u).chunk(4, dim=1)
        c = (f + p_f * c).sigmoid() * c + (i + p_i * c).sigmoid() * g.tanh()
        return (o + p_o * c).sigmoid() * c.tanh(), c


class CoupledLSTM(Cell):
    """An LSTM whose input gate is one minus the forget gate (Greff et al. 2016)."""

    gates, n_states, forget_gate, kernel = 3, 2, 0, "lstm_coupled"

    def step(self, x: torch.Tensor, u: torch.Tensor, state: State, *extra: torch.Tensor) -> State:
        f, g, o = (x + u).chunk(3, dim=1)
        c = torch.lerp(g.tanh(), state[1], f.sigmoid())
        return o.sigmoid() * c.tanh(), c


class GRU(Cell):
    """A gated recurrent unit (Cho et al. 2014), whose reset gate acts on the product with the
    hidden state, as cuDNN has it.
    """

    gates, kernel = 3, "gru"
    make_layer = nn.GRU
    function = staticmethod(torch.gru)

    def step(self, x: torch.Tensor, u: torch.Tensor, state: State, *extra: torch.Tensor) -> State:
        (x_r, x_z, x_n), (u_r, u_z, u_n) = x.chunk(3, dim=1), u.chunk(3, dim=1)
        n = (x_n + (x_r + u_r).sigmoid() * u_n).tanh()
        return (torch.lerp(n, state[0], (x_z + u_z).sigmoid()),)


class Elman(Cell):
    """A plain recurrent network with tanh (Elman 1990)."""

    gates, kernel = 1, "elman"
    make_layer = nn.RNN
    function = staticmethod(torch.rnn_tanh)

    def step(self, x: torch.Tensor, u: torch.Tensor, state: State, *extra: torch.Tensor) -> State:
        return ((x + u).tanh(),)


class IRNN(Cell):
    """A plain recurrent network of rectified units that starts as the identity (Le et al. 2015, "A
    Simple Way to Initialize Recurrent Networks of Rectified Linear Units").
    """

    gates, kernel = 1, "irnn"
    function = staticmethod(torch.rnn_relu)

    @staticmethod
    def make_layer(*args: Any, **kwargs: Any) -> nn.RNNBase:
        return nn.RNN(*args, nonlinearity="relu", **kwargs)

    def step(self, x: torch.Tensor, u: torch.Tensor, state: State, *extra: torch.Tensor) -> State:
        return ((x + u).relu(),)

    def init_input(self, weight: torch.Tensor) -> None:
        nn.init.normal_(weight, std=0.001)

    def init_recurrent(self, weight: torch.Tensor) -> None:
        nn.init.eye_(weight)


CELLS: dict[str, Cell] = {
    "lstm": LSTM(),
    "lstm_peephole": PeepholeLSTM(),
    "lstm_coupled": CoupledLSTM(),
    "gru": GRU(),
    "elman": Elman(),
    "irnn": IRNN(),
}
