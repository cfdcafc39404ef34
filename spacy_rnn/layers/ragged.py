"""From Thinc's lists of arrays to flat batches, and back."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy
from thinc.api import Model, Ops
from thinc.types import Floats2d

from .torch_shim import get_shim


def join(ops: Ops, Xs: Sequence[Any], width: int = 0) -> Any:
    """Join sequences. What `split` cut is not copied.

    ops (Ops): The layer's backend.
    Xs (Sequence[Floats2d]): The sequences. An empty one may have any width.
    width (int): The width of the result where all are empty.
    RETURNS (Floats2d): The rows of all sequences. (N, width)
    """
    present = [X for X in Xs if len(X)]
    if len(present) == 1:
        return present[0]
    if not present:
        return ops.alloc2f(0, width)
    whole = _find_whole(present)
    return ops.xp.concatenate(present) if whole is None else whole


def _find_whole(Xs: Sequence[Any]) -> Any:
    """RETURNS (Optional[Floats2d]): The numpy array whose rows are these sequences, in order."""
    whole = Xs[0].base if isinstance(Xs[0], numpy.ndarray) else None
    if not isinstance(whole, numpy.ndarray) or not whole.flags.carray:
        return None
    start = address = _get_address(whole)
    for X in Xs:
        if X.base is not whole or not X.flags.c_contiguous or _get_address(X) != address:
            return None
        if X.dtype != whole.dtype or X.shape[1:] != whole.shape[1:]:
            return None
        address += X.nbytes
    return whole if address == start + whole.nbytes else None


def _get_address(X: Any) -> int:
    return int(X.__array_interface__["data"][0])


def split(Xf: Any, lengths: Sequence[int]) -> list[Floats2d]:
    """Cut a flat batch into its sequences, without copying.

    Xf (ArrayXd): The rows of all sequences. (N, width)
    lengths (Sequence[int]): The number of rows of each sequence; N together.
    RETURNS (List[Floats2d]): The sequences.
    """
    ends = numpy.cumsum(lengths).tolist()
    return [Xf[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def no_backprop(dYs: Any) -> Any:
    """Stand in for the callback of a prediction, which keeps nothing for a backward pass."""
    raise ValueError("Can't backpropagate through a prediction: call the layer with is_train=True.")


def run_module(
    model: Model, X: Any, is_train: bool, /, *args: Any, **kwargs: Any
) -> tuple[Any, Callable[[Any], Any]]:
    """Run a layer's module on an array: the forward pass of most of our layers.

    model (Model): The layer.
    X (Optional[ArrayXd]): The module's first argument, if it has a gradient.
    is_train (bool): Whether to record gradients.
    args, kwargs (Any): The module's other arguments.
    RETURNS (Tuple[ArrayXd, Callable]): The module's output, and a callback from its gradient to
        that of X, None without X.
    """
    shim = get_shim(model)
    if is_train:
        return shim.begin_update(X, *args, **kwargs)
    inputs = () if X is None else (X,)
    return shim.predict(*inputs, *args, **kwargs), no_backprop
