"""The choice of what runs recurrent layers."""

import torch

from ...kernels.missing import warn_if_missing
from ..backend import is_compiled
from . import torch_layers
from .cells import Cell
from .truncation import RunLayer


def choose_run_layer(cell: Cell, X: torch.Tensor, weight: torch.Tensor) -> tuple[RunLayer, bool]:
    """Choose how layers run, for encoders and language models, prediction and training: on our
    compiled kernels, where there are some for the cell, the device and the precision, or else by
    torch.

    cell (Cell): The kind of cell.
    X (Tensor): The input.
    weight (Tensor): One of the parameters.
    RETURNS (Tuple[Callable, bool]): The function that runs a layer with gradients, and whether the
        compiled kernels do.
    """
    if cell.kernel is None or not is_compiled(X, weight):
        if X.device.type == "cpu":
            warn_if_missing()
        return torch_layers.run_layer, False
    # Imported late, as the kernels may not have been built.
    from . import compiled_layers

    return compiled_layers.run_layer, True
