"""The weights of layers, laid out for the compiled kernels as `kernels.h` describes."""

import numpy as np

from ._kernels import LANES, Layer, pair_bf16

Array = np.ndarray


def lay_out_layer(
    cell: str,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    extra: Array | None = None,
    *,
    factors: str = "float32",
) -> Layer:
    """Lay out one direction of a recurrent layer.

    cell (str): The kernel, a key of `CELLS`.
    weight_ih, weight_hh, bias_ih, bias_hh, extra (ndarray): Its parameters as torch has them:
        rows are (gates x units). float32
    factors (str): What factors of products are rounded to: "float32", "bfloat16" or "int8".
    RETURNS (Layer): The compiled layer.
    """
    rows, units = weight_hh.shape
    bias = bias_ih + bias_hh
    if cell == "gru":
        # The reset gate acts on the candidate's recurrent part together with its bias.
        extra = bias_hh[2 * units :].reshape(1, units)
        bias[2 * units :] = bias_ih[2 * units :]
    n_gates = rows // units
    return Layer(
        cell,
        weight_ih.shape[1],
        units,
        _round(_to_tiles(weight_ih, n_gates), factors),
        _to_tiles(bias[:, None], n_gates)[:, 0],
        _round(_to_tiles(weight_hh, n_gates), factors),
        None if extra is None else _to_blocks(extra),
        factors,
    )


def lay_out_linear(weight: Array, bias: Array, factors: str = "float32") -> Layer:
    """Lay out a linear layer.

    weight (ndarray): The weights. float32, (nO, nI)
    bias (ndarray): The bias. float32, (nO,)
    factors (str): What factors of products are rounded to: "float32", "bfloat16" or "int8".
    RETURNS (Layer): The compiled layer.
    """
    nO, nI = weight.shape
    weights, biases = _round(_to_tiles(weight, 1), factors), _to_tiles(bias[:, None], 1)[:, 0]
    return Layer("linear", nI, nO, weights, biases, factors=factors)


def lay_out_backward(weight_hh: Array, factors: str = "float32") -> Array:
    """Lay out recurrent weights for the product with the gradient of the gates.

    weight_hh (ndarray): As torch has them. float32, (gates x units, units)
    factors (str): What factors of products are rounded to: "float32" or "bfloat16".
    RETURNS (ndarray): The weights. (groups of four blocks, width or half of it, 4, LANES)
    """
    rows = to_kernel_rows(weight_hh, weight_hh.shape[1])
    groups = -(-weight_hh.shape[1] // (4 * LANES))
    blocks = np.zeros((groups, len(rows), 4 * LANES), dtype=np.float32)
    for i, part in enumerate(np.split(rows, range(4 * LANES, rows.shape[1], 4 * LANES), axis=1)):
        blocks[i, :, : part.shape[1]] = part
    return _round(blocks.reshape(groups, -1, 4, LANES), factors)


def to_kernel_rows(weight: Array, units: int) -> Array:
    """Put rows into the order of the compiled gates.

    weight (ndarray): Rows as torch has them. (gates x units, size)
    units (int): The number of units.
    RETURNS (ndarray): The rows, zeros for padding. (width, size)
    """
    n_gates, size = len(weight) // units, weight.shape[1]
    gates = _pad(weight.reshape(n_gates, units, size))
    rows = gates.reshape(n_gates, -1, LANES, size).swapaxes(0, 1)
    return np.ascontiguousarray(rows).reshape(-1, size)


def from_kernel_rows(rows: Array, n_gates: int, units: int) -> Array:
    """Put rows from the order of the compiled gates into torch's.

    rows (ndarray): The rows. (width, size)
    n_gates (int): The number of gates.
    units (int): The number of units.
    RETURNS (ndarray): The rows without padding. (gates x units, size)
    """
    size = rows.shape[1]
    blocks = rows.reshape(-1, n_gates, LANES, size).swapaxes(0, 1)
    return blocks.reshape(n_gates, -1, size)[:, :units].reshape(-1, size)


def _pad(gates: Array) -> Array:
    """Fill the units of gates, (gates, units, size), up to whole blocks or tiles."""
    n_gates, units, size = gates.shape
    padding = -units % (LANES if n_gates > 1 else 4 * LANES)
    if not padding:
        return gates
    # `np.pad` takes longer than a short text.
    padded = np.zeros((n_gates, units + padding, size), dtype=np.float32)
    padded[:, :units] = gates
    return padded


def _to_tiles(weight: Array, n_gates: int) -> Array:
    """(gates x units, size) to (tiles, size, vectors, LANES). Always a copy, so that the layer
    stays as it is when a parameter is written to.
    """
    n_rows, size = weight.shape
    if n_gates == 1:
        width = 4 * LANES
        tiles = np.zeros((-(-n_rows // width), size, width), dtype=np.float32)
        for i, tile in enumerate(tiles):
            rows = weight[i * width : (i + 1) * width]
            tile[:, : len(rows)] = rows.T
        return tiles.reshape(len(tiles), size, 4, LANES)
    blocks = _pad(weight.reshape(n_gates, -1, size)).reshape(n_gates, -1, LANES, size)
    return np.array(blocks.transpose(1, 3, 0, 2), dtype=np.float32, order="C")


def _to_blocks(extra: Array) -> Array:
    """(extra, units) to (blocks, extra, LANES)"""
    padded = np.zeros((len(extra), -(-extra.shape[1] // LANES), LANES), dtype=np.float32)
    padded.reshape(len(extra), -1)[:, : extra.shape[1]] = extra
    return padded.swapaxes(0, 1)


def _round(weight: Array, factors: str) -> Array:
    """Round weights, (tiles, size, vectors, LANES), and put several of one unit into 32 bits."""
    if factors == "float32":
        return weight
    if factors == "int8":
        return _quantize(weight)
    pairs = pair_bf16(weight.reshape(*weight.shape[:2], -1))
    return pairs.reshape(*pairs.shape[:2], *weight.shape[2:])


def _quantize(weight: Array) -> Array:
    """Divide the weights of each unit by a scale, and round them to 8-bit integers. Before them
    come the scales, and what their products are too large by, as the other factors are 128 too
    large.
    """
    tiles, size, *rest = weight.shape
    scales = np.abs(weight).max(axis=1, keepdims=True) / np.float32(127)
    rounded = np.zeros((tiles, size + -size % 4, *rest), dtype=np.int8)
    with np.errstate(divide="ignore", invalid="ignore"):
        rounded[:, :size] = np.nan_to_num(np.rint(weight / scales))
    excess = -128 * rounded.sum(axis=1, keepdims=True, dtype=np.int32)
    quads = np.ascontiguousarray(np.moveaxis(rounded.reshape(tiles, -1, 4, *rest), 2, -1))
    parts = [scales, excess, quads.view(np.uint32)[..., 0]]
    return np.concatenate([part.view(np.uint32) for part in parts], axis=1)
