"""The recurrent cells that can be named in a config: torch's module for each, and how its
parameters are initialised.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Cell:
    """A kind of recurrent cell.

    module (type): Torch's module; its parameters and its formulas are the ones used everywhere.
    gates (int): How many blocks of `hidden` rows its weight matrices consist of.
    options (Dict[str, Any]): What the module's constructor needs besides sizes.
    forget_gate (Optional[int]): Which of the blocks is a forget gate, if one is.
    identity (bool): Whether the recurrent weights start as the identity (Le et al. 2015).
    """

    module: type[nn.RNNBase]
    gates: int
    options: dict[str, Any]
    forget_gate: int | None = None
    identity: bool = False


CELLS = {
    "lstm": Cell(nn.LSTM, 4, {}, forget_gate=1),
    "gru": Cell(nn.GRU, 3, {}),
    "elman": Cell(nn.RNN, 1, {"nonlinearity": "tanh"}),
    "irnn": Cell(nn.RNN, 1, {"nonlinearity": "relu"}, identity=True),
}


def make_layer(cell: str, nI: int, hidden: int, bidirectional: bool) -> nn.RNNBase:
    """Make one recurrent layer with initialised parameters.

    cell (str): The kind of cell, a key of `CELLS`.
    nI (int): The width of the input.
    hidden (int): The number of units of each direction.
    bidirectional (bool): Whether to run from both ends.
    RETURNS (nn.RNNBase): Torch's module.
    """
    kind = CELLS[cell]
    # The base class takes another first argument than the modules themselves.
    make: Callable[..., nn.RNNBase] = kind.module
    layer = make(nI, hidden, bidirectional=bidirectional, **kind.options)
    init_layer(layer, kind)
    return layer


def init_layer(layer: nn.RNNBase, kind: Cell) -> None:
    """Initialise a layer in place: input weights by Glorot & Bengio (2010), recurrent weights
    orthogonal gate by gate (Saxe et al. 2014), biases zero but for the forget gate's, which is
    one (Jozefowicz et al. 2015). An IRNN has the identity for recurrent weights and small
    Gaussian input weights (Le et al. 2015, "A Simple Way to Initialize Recurrent Networks of
    Rectified Linear Units").

    layer (nn.RNNBase): A layer of that kind.
    kind (Cell): The kind of cell.
    """
    hidden = layer.hidden_size
    with torch.no_grad():
        for name, param in layer.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(param)
                if kind.forget_gate is not None and name.startswith("bias_ih"):
                    param.view(kind.gates, hidden)[kind.forget_gate] = 1.0
                continue
            for block in param.view(kind.gates, hidden, -1):
                if name.startswith("weight_hh"):
                    (nn.init.eye_ if kind.identity else nn.init.orthogonal_)(block)
                elif kind.identity:
                    nn.init.normal_(block, std=0.001)
                else:
                    nn.init.xavier_uniform_(block)
