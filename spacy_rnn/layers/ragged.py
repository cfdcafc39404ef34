"""Between Thinc's lists of arrays and torch's flat batches."""

from collections.abc import Sequence
from typing import Any

import numpy
import torch
from thinc.api import Ops, torch2xp, xp2torch
from thinc.types import Floats2d


def get_device(ops: Ops) -> torch.device:
    """RETURNS (torch.device): Where a backend's arrays are."""
    if ops.device_type == "cpu":
        return torch.device("cpu")
    # Thinc's require_gpu sets the device for cupy and torch, but not on its ops.
    return torch.device("cuda", torch.cuda.current_device())


def to_torch(array: Any, device: torch.device) -> torch.Tensor:
    """Share an array with torch: what Thinc's `xp2torch` does, ten times as fast for numpy, which
    counts where a Doc is short.

    array (ArrayXd): The array, of numpy or cupy.
    device (torch.device): Where the result should be.
    RETURNS (Tensor): The tensor, a copy only if it has to be on another device.
    """
    if isinstance(array, numpy.ndarray) and device.type == "cpu":
        return torch.from_numpy(array)
    return xp2torch(array, device=device)


def to_xp(tensor: torch.Tensor) -> Any:
    """Share a tensor with numpy or cupy, whichever is where it is.

    tensor (Tensor): The tensor.
    RETURNS (ArrayXd): The array.
    """
    return tensor.numpy() if tensor.device.type == "cpu" else torch2xp(tensor)


def join(ops: Ops, Xs: Sequence[Any], width: int = 0) -> Any:
    """Join sequences, without copying if they lie one after another already, as those that `split`
    returned do.

    ops (Ops): The layer's backend.
    Xs (Sequence[Floats2d]): The sequences. An empty one may have any width.
    width (int): The width of the result where all are empty.
    RETURNS (Floats2d): The rows of all sequences. (N, width)
    """
    present = [X for X in Xs if len(X)]
    if not present:
        return ops.alloc2f(0, width)
    if len(present) == 1:
        return present[0]
    whole = _find_whole(present)
    return ops.xp.concatenate(present) if whole is None else whole


def _find_whole(Xs: Sequence[Any]) -> Any:
    """RETURNS (Optional[Floats2d]): The part of numpy's array that sequences were cut from, if they
    follow each other there.
    """
    first, end = Xs[0], None
    if not isinstance(first, numpy.ndarray) or first.base is None or not first.flags.writeable:
        return None
    for X in Xs:
        address = X.__array_interface__["data"][0]
        if X.base is not first.base or address != (end or address) or not X.flags.c_contiguous:
            return None
        if X.ndim != 2 or X.shape[1] != first.shape[1] or X.dtype != first.dtype:
            return None
        end = address + X.nbytes
    # A single row, or a single column, may have any stride.
    strides = (first.nbytes // len(first), first.itemsize)
    shape = (sum(map(len, Xs)), first.shape[1])
    return numpy.lib.stride_tricks.as_strided(first, shape, strides)


def flatten(ops: Ops, Xs: Sequence[Any], device: torch.device) -> torch.Tensor:
    """Join sequences to a flat batch of torch's.

    ops (Ops): The layer's backend.
    Xs (Sequence[Floats2d]): The sequences, not all of them empty.
    device (torch.device): Where the result should be.
    RETURNS (Tensor): The rows of all sequences. (N, width)
    """
    return to_torch(join(ops, Xs), device)


def split(Xf: Any, lengths: Sequence[int]) -> list[Floats2d]:
    """Cut a flat batch into its sequences, without copying.

    Xf (ArrayXd): The rows of all sequences. (N, width)
    lengths (Sequence[int]): The number of rows of each sequence; N together.
    RETURNS (List[Floats2d]): The sequences.
    """
    ends = numpy.cumsum(lengths).tolist()
    return [Xf[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def no_backprop(dYs: Any) -> Any:
    """Stand in for the callback of a prediction, which has kept nothing to go back with."""
    raise ValueError("Can't backpropagate through a prediction: call the layer with is_train=True.")
