"""What decides between compiled kernels and torch, and between precisions."""

from typing import TYPE_CHECKING

from .. import kernels

if TYPE_CHECKING:
    import torch


def is_compiled(*tensors: "torch.Tensor") -> bool:
    """Decide whether compiled kernels can compute with tensors. If not, torch does.

    tensors (Tensor): The input and the parameters.
    RETURNS (bool): Whether there are kernels, and all tensors are in single precision on the CPU.
    """
    import torch

    return kernels.INSTRUCTIONS is not None and all(
        tensor.device.type == "cpu" and tensor.dtype is torch.float32 for tensor in tensors
    )


def get_product_dtype(X: "torch.Tensor") -> "torch.dtype":
    """RETURNS (torch.dtype): The precision of matrix products: that of the input, or what autocast
    asks for.
    """
    import torch

    device = X.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else X.dtype


def has_bfloat16() -> bool:
    """RETURNS (bool): Whether mixed precision is faster on this CPU in training: by our kernels, or
    by torch's matrix products with AMX.
    """
    return kernels.INSTRUCTIONS is not None and (kernels.PREFERS_BFLOAT16 or kernels.HAS_AMX)


def wants_bfloat16(X: "torch.Tensor") -> bool:
    """RETURNS (bool): Whether the compiled kernels round factors of products to bfloat16: autocast
    asks for it, and it is faster on this processor.
    """
    import torch

    return get_product_dtype(X) is torch.bfloat16 and kernels.PREFERS_BFLOAT16
