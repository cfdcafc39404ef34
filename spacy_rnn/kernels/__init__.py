"""Compiled kernels for recurrent layers, linear chains and softmaxes on a CPU. They are built where
there is a compiler when the package is installed. All works without them, more slowly.

The environment variable SPACY_RNN_KERNELS chooses the instruction set, or "none" of them.
"""

import os
from typing import Any

import numpy as np
import torch
from torch import nn


def _find_instructions() -> tuple[str | None, bool]:
    wanted = os.environ.get("SPACY_RNN_KERNELS")
    if wanted == "none":
        return None, False
    try:
        from ._kernels import HAS_BFLOAT16, INSTRUCTIONS
    except ImportError as err:
        if wanted:
            raise RuntimeError(
                f"Environment variable SPACY_RNN_KERNELS is {wanted!r}, but no kernels were built "
                "with spacy-rnn: install it anew where there is a C compiler, or unset this."
            ) from err
        return None, False
    return INSTRUCTIONS, HAS_BFLOAT16


# "avx512", "avx2" or, not on x86, "base": what all processors of a kind have. None without kernels.
INSTRUCTIONS, HAS_BFLOAT16 = _find_instructions()
# Whether ours are the faster ones for bfloat16: torch's make use of AMX, which older versions of it
# say nothing about.
PREFERS_BFLOAT16 = HAS_BFLOAT16 and not getattr(torch.cpu, "_is_amx_tile_supported", lambda: True)()


def can_run(
    layer: nn.RNNBase, X: torch.Tensor, dtype: torch.dtype, *, steady: bool = False
) -> bool:
    """Tell whether there are kernels to run a layer, with gradients and without.

    layer (nn.RNNBase): Torch's module with the parameters.
    X (Tensor): Its input.
    dtype (torch.dtype): The precision of matrix products.
    steady (bool): Whether the result must not depend on the batch, as that of torch's for bfloat16
        does.
    RETURNS (bool): Whether there are, and those for bfloat16 are faster than torch's or have to be
        steady.
    """
    has_half = HAS_BFLOAT16 if steady else PREFERS_BFLOAT16
    is_known = dtype is torch.float32 or (dtype is torch.bfloat16 and has_half)
    tensors = (X, layer.weight_hh_l0)
    return (
        INSTRUCTIONS is not None
        and is_known
        and layer.mode in ("LSTM", "GRU")
        and all(part.device.type == "cpu" and part.dtype is torch.float32 for part in tensors)
    )


def can_project(X: Any) -> bool:
    """RETURNS (bool): Whether there are kernels for a linear layer that predicts, with its input,
    (N, nI), of numpy or cupy.
    """
    return INSTRUCTIONS is not None and isinstance(X, np.ndarray) and X.dtype == np.float32


def can_chain(scores: torch.Tensor, dtype: torch.dtype) -> bool:
    """RETURNS (bool): Whether there are kernels for chains with such scores for tags, (N, T), in a
    precision.
    """
    is_ours = scores.device.type == "cpu" and scores.dtype is dtype
    return INSTRUCTIONS is not None and is_ours


def can_pick(X: torch.Tensor, dtype: torch.dtype) -> bool:
    """RETURNS (bool): Whether there are kernels for the cross-entropy of a linear layer's output,
    with its input and the precision of its product.
    """
    is_known = dtype in (torch.float32, torch.bfloat16)
    return INSTRUCTIONS is not None and X.device.type == "cpu" and is_known
