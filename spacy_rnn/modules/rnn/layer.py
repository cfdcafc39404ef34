"""The parameters of recurrent layers."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from .cells import CELLS, Cell


class OwnLayer(nn.Module):
    """The parameters of a layer that torch has no module for, named as in torch's modules.

    nI (int): The width of the input.
    hidden_size (int): The number of units in each direction.
    bidirectional (bool): Whether to read from both ends.
    """

    def __init__(self, cell: Cell, nI: int, hidden_size: int, *, bidirectional: bool):
        super().__init__()
        self.input_size, self.hidden_size, self.bidirectional = nI, hidden_size, bidirectional
        rows = cell.gates * hidden_size
        shapes = {
            "weight_ih": (rows, nI),
            "weight_hh": (rows, hidden_size),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        if cell.extra:
            shapes["extra"] = (cell.extra, hidden_size)
        for suffix in ("_l0", "_l0_reverse")[: 1 + bidirectional]:
            for name, shape in shapes.items():
                self.register_parameter(name + suffix, nn.Parameter(torch.empty(shape)))


# Both kinds have the same attributes and parameters.
RecurrentLayer = nn.RNNBase | OwnLayer


def make_layer(name: str, nI: int, units: int, bidirectional: bool) -> RecurrentLayer:
    """Make one recurrent layer with initialised parameters: biases are zero, but for a forget
    gate's, which is one; weights are as the cell has them.

    name (str): The kind of cell, a key of `CELLS`.
    nI (int): The width of the input.
    units (int): The number of units in each direction.
    bidirectional (bool): Whether to read from both ends.
    RETURNS (RecurrentLayer): The layer.
    """
    cell = CELLS[name]
    layer: RecurrentLayer
    if cell.torch_layer is None:
        layer = OwnLayer(cell, nI, units, bidirectional=bidirectional)
    else:
        build = getattr(nn, cell.torch_layer[0])
        layer = build(nI, units, bidirectional=bidirectional, **cell.torch_settings)
    with torch.no_grad():
        for parameter, values in layer.named_parameters():
            if not parameter.startswith("weight"):
                nn.init.zeros_(values)
                if cell.forget_gate is not None and parameter.startswith("bias_ih"):
                    values.view(cell.gates, units)[cell.forget_gate] = 1.0
                continue
            init = cell.init_input if parameter.startswith("weight_ih") else cell.init_recurrent
            for gate in values.view(cell.gates, units, -1):
                init(gate)
    return layer


def get_weights(layer: RecurrentLayer) -> list[list[torch.Tensor]]:
    """RETURNS (List[List[Tensor]]): For each direction of a layer its weights for the input and for
    the hidden state, the biases of both, and its extra parameters if it has some.
    """
    # `layer.parameters()` takes longer than some steps.
    weights = cast(list[torch.Tensor], list(layer._parameters.values()))
    return split_directions(weights, 1 + layer.bidirectional)


def split_directions(weights: Sequence[torch.Tensor], n: int) -> list[list[torch.Tensor]]:
    """RETURNS (List[List[Tensor]]): Parameters of n directions, divided by direction."""
    size = len(weights) // n
    return [list(weights[i * size : (i + 1) * size]) for i in range(n)]
