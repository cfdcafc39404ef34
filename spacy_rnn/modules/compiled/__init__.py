"""Compiled kernels for recurrent layers on a CPU, in single precision. They are built where the
package is installed with a compiler at hand. All works without them, more slowly.

The environment variable SPACY_RNN_KERNELS chooses the instruction set, or "none" of them.
"""

import os

import torch
from torch import nn


def _find_instructions() -> str | None:
    if os.environ.get("SPACY_RNN_KERNELS") == "none":
        return None
    try:
        from ._rnn import INSTRUCTIONS
    except ImportError:
        return None
    return INSTRUCTIONS


# "avx512", "avx2" or, not on x86, "base": what all processors of a kind have. None without kernels.
INSTRUCTIONS = _find_instructions()


def can_predict(layer: nn.RNNBase, X: torch.Tensor) -> bool:
    """RETURNS (bool): Whether there are kernels to run a layer without gradients."""
    return layer.mode in ("LSTM", "GRU") and _is_supported(layer, X)


def can_train(layer: nn.RNNBase, X: torch.Tensor) -> bool:
    """RETURNS (bool): Whether there are kernels to run a layer with gradients."""
    return layer.mode == "LSTM" and _is_supported(layer, X)


def _is_supported(layer: nn.RNNBase, X: torch.Tensor) -> bool:
    tensors = (X, layer.weight_hh_l0)
    return INSTRUCTIONS is not None and all(
        tensor.device.type == "cpu" and tensor.dtype is torch.float32 for tensor in tensors
    )
