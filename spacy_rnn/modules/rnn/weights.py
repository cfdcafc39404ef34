"""The weights of torch's recurrent layers, laid out for the compiled kernels."""

from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ...kernels._kernels import LANES, Direction, Projection
from ..cache import Version, get_version

N_GATES = {"LSTM": 4, "GRU": 3}

# A layer's direction in single or in half precision.
_Key = tuple[int, bool]
# Kept with the versions of the parameters they were made from. They can be neither copied nor
# pickled, so the layers themselves must not hold them.
_Laid = tuple[tuple[Version, ...], Direction]
_laid_out: "WeakKeyDictionary[nn.RNNBase, dict[_Key, _Laid]]" = WeakKeyDictionary()


def get_direction(layer: nn.RNNBase, direction: int, half: bool = False) -> Direction:
    """Get one direction of a layer for prediction: laid out again only after a change.

    layer (nn.RNNBase): Torch's module with the parameters: LSTM or GRU, of one layer.
    direction (int): 0 for the forward direction's parameters, 1 for the backward's.
    half (bool): Whether the factors of products are rounded to bfloat16.
    RETURNS (Direction): The compiled layer.
    """
    # The same as `all_weights`, without a look-up by names that takes longer than some steps.
    weights: list[torch.Tensor] = layer._flat_weights  # type: ignore[assignment]
    weights = weights[4 * direction : 4 * direction + 4]
    versions = tuple(map(get_version, weights))
    kept = _laid_out.setdefault(layer, {})
    key = direction, half
    if key not in kept or kept[key][0] != versions:
        kept[key] = (versions, make_direction(layer.mode, *weights, half=half))
    return kept[key][1]


@torch.no_grad()
def make_direction(
    mode: str,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor,
    bias_hh: torch.Tensor,
    *,
    half: bool = False,
) -> Direction:
    """Lay out the weights of one direction.

    mode (str): The kind of cell, as torch calls it: "LSTM" or "GRU".
    weight_ih, weight_hh, bias_ih, bias_hh (Tensor): Torch's parameters, float32 on the CPU.
    half (bool): Whether the factors of products are rounded to bfloat16.
    RETURNS (Direction): The compiled layer.
    """
    n_gates, hidden = N_GATES[mode], weight_hh.shape[1]
    bias = (bias_ih + bias_hh).view(n_gates, hidden)
    inner_bias = torch.zeros(hidden)
    if mode == "GRU":
        # The reset gate acts on the candidate's recurrent part together with its bias.
        inner_bias = bias_hh[2 * hidden :]
        bias[2] -= inner_bias
    blocks = [
        _to_blocks(weight.detach().numpy().reshape(n_gates, hidden, -1))
        for weight in (weight_ih, weight_hh)
    ]
    input_weights, recurrent_weights = map(_to_halves, blocks) if half else blocks
    return Direction(
        n_gates,
        weight_ih.shape[1],
        hidden,
        input_weights,
        _to_blocks(bias.unsqueeze(2).numpy())[:, 0],
        recurrent_weights,
        _to_blocks(inner_bias.view(1, hidden, 1).numpy())[:, 0, 0],
        half,
    )


def make_projection(weight: np.ndarray, bias: np.ndarray) -> Projection:
    """Lay out the weights of a linear layer.

    weight (ndarray): The weights. float32, (nO, nI)
    bias (ndarray): The bias. float32, (nO,)
    RETURNS (Projection): The compiled layer.
    """
    nO, nI = weight.shape
    return Projection(1, nI, nO, _to_blocks(weight[None]), _to_blocks(bias[None, :, None])[:, 0])


def _to_blocks(weights: np.ndarray) -> np.ndarray:
    """(gates, hidden, size) to (blocks, size, gates, LANES)"""
    gates, hidden, size = weights.shape
    if hidden % LANES:
        padded = np.zeros((gates, hidden + -hidden % LANES, size), dtype=np.float32)
        padded[:, :hidden] = weights
        weights = padded
    # A copy in any case: what was laid out stays as it is when a parameter is written to.
    blocks = weights.reshape(gates, -1, LANES, size).transpose(1, 3, 0, 2)
    return np.array(blocks, dtype=np.float32, order="C")


def _to_halves(blocks: np.ndarray | torch.Tensor) -> np.ndarray:
    """Put two weights, rounded to bfloat16, in the place of one. (blocks, size, gates, LANES) to
    (blocks, size / 2, gates, LANES)
    """
    n_blocks, size, gates, lanes = blocks.shape
    padded = F.pad(torch.as_tensor(blocks), (0, 0, 0, 0, 0, size % 2)).to(torch.bfloat16)
    pairs = padded.view(n_blocks, -1, 2, gates, lanes).permute(0, 1, 3, 4, 2).contiguous()
    return pairs.view(torch.float32)[..., 0].numpy()


@torch.no_grad()
def weights_for_way_back(weight_hh: torch.Tensor, *, half: bool = False) -> np.ndarray:
    """Lay out recurrent weights for the product with the gradient of the gates.

    weight_hh (Tensor): Torch's parameter. (gates x hidden, hidden)
    half (bool): Whether the factors of products are rounded to bfloat16.
    RETURNS (ndarray): The weights. (groups of four blocks, width or half of it, 4, LANES)
    """
    rows = to_rows(weight_hh, weight_hh.shape[1])
    padded = F.pad(rows, (0, -rows.shape[1] % (4 * LANES)))
    blocks = padded.view(len(rows), -1, 4, LANES).permute(1, 0, 2, 3).contiguous()
    return _to_halves(blocks) if half else blocks.numpy()


@torch.no_grad()
def to_rows(weight: torch.Tensor, hidden: int) -> torch.Tensor:
    """Put the rows of weights into the order of the compiled gates.

    weight (Tensor): Torch's parameter. (gates x hidden, size)
    hidden (int): The number of units.
    RETURNS (Tensor): Its rows, zeros for what fills the last block up. (width, size)
    """
    size = weight.shape[1]
    gates = F.pad(weight.view(-1, hidden, size), (0, 0, 0, -hidden % LANES))
    return gates.view(len(gates), -1, LANES, size).permute(1, 0, 2, 3).reshape(-1, size)


def from_blocks(rows: torch.Tensor, n_gates: int, hidden: int) -> torch.Tensor:
    """Undo what `to_rows` did.

    rows (Tensor): The rows in the order of the compiled gates. (width, size)
    n_gates (int): The number of gates.
    hidden (int): The number of units.
    RETURNS (Tensor): The rows in torch's order. (gates x hidden, size)
    """
    size = rows.shape[1]
    blocks = rows.view(-1, n_gates, LANES, size).permute(1, 0, 2, 3)
    return blocks.reshape(n_gates, -1, size)[:, :hidden].reshape(-1, size)
