"""Compiled kernels or torch: the one place that chooses."""

import torch

from .. import kernels


def is_compiled(*tensors: torch.Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Choose how to compute: on our kernels, or else with torch.

    tensors (Tensor): What goes in, parameters included.
    dtype (torch.dtype): What the kernels take.
    RETURNS (bool): Whether there are compiled kernels, and all tensors are of that type and on
        the CPU.
    """
    return kernels.INSTRUCTIONS is not None and all(
        tensor.device.type == "cpu" and tensor.dtype is dtype for tensor in tensors
    )


def get_product_dtype(X: torch.Tensor) -> torch.dtype:
    """RETURNS (torch.dtype): The precision of matrix products: that of the input, or what autocast
    asks for.
    """
    device = X.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else X.dtype


def has_bfloat16() -> bool:
    """RETURNS (bool): Whether mixed precision is faster on this CPU: by our kernels, or by torch's
    matrix products with AMX.
    """
    if kernels.INSTRUCTIONS is None:
        return False
    from ..kernels._kernels import HAS_AMX

    return kernels.PREFERS_BFLOAT16 or HAS_AMX


def wants_bfloat16(X: torch.Tensor) -> bool:
    """RETURNS (bool): Whether the compiled kernels round factors of products to bfloat16, because
    autocast asks for it and they are faster with it on this processor.
    """
    return get_product_dtype(X) is torch.bfloat16 and kernels.PREFERS_BFLOAT16
