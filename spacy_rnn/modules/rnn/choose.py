"""The choice of what runs recurrent layers in training."""

import torch

from ..backend import is_compiled
from . import torch_layers
from .cells import Cell
from .truncation import RunLayer


def choose_run_layer(cell: Cell, X: torch.Tensor, weight: torch.Tensor) -> RunLayer:
    """Choose what runs layers with gradients: our compiled kernels, where there are some for the
    cell, the device and the precision, or else torch.

    cell (Cell): The kind of cell.
    X (Tensor): The input.
    weight (Tensor): One of the parameters.
    RETURNS (Callable): The function that runs a layer.
    """
    if cell.kernel is None or not is_compiled(X, weight):
        return torch_layers.run_layer
    # Imported late, as the kernels may not have been built.
    from . import compiled_layers

    return compiled_layers.run_layer
