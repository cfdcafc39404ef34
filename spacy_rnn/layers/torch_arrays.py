"""Between arrays and torch's tensors, where torch is installed."""

from typing import TYPE_CHECKING, Any

import numpy
from thinc.api import torch2xp, xp2torch
from thinc.compat import has_torch

if TYPE_CHECKING:
    import torch

NEEDS_TORCH = (
    "{what} needs torch, which is not installed: run `pip install torch`. Without torch, pipelines "
    "are loaded and predict on a CPU, with the compiled kernels."
)


def require_torch(what: str) -> None:
    """Raise an ImportError unless torch is installed.

    what (str): What needs it, the subject of the message.
    """
    if not has_torch:
        raise ImportError(NEEDS_TORCH.format(what=what))


def to_torch(array: Any, device: Any) -> "torch.Tensor":
    """Share an array with torch: Thinc's `xp2torch`, but ten times as fast for numpy, which counts
    for a short Doc.

    array (ArrayXd): The array, of numpy or cupy.
    device (torch.device): The device of the result.
    RETURNS (Tensor): The tensor, a copy only if it has to be on another device.
    """
    import torch

    if isinstance(array, numpy.ndarray) and device.type == "cpu":
        return torch.from_numpy(array)
    return xp2torch(array, device=device)


def to_xp(tensor: "torch.Tensor") -> Any:
    """RETURNS (ArrayXd): A tensor as an array of numpy or cupy, in the same memory."""
    return tensor.numpy() if tensor.device.type == "cpu" else torch2xp(tensor)
