"""A `Seq2Seq` by torch, for beam search: on a GPU, and where there are no kernels."""

from typing import Any

import numpy as np
import torch

from .attention import Memory
from .module import Seq2Seq


class TorchDecoder:
    """A `Seq2Seq` that takes arrays.

    module (Seq2Seq): The module.
    """

    def __init__(self, module: Seq2Seq):
        self._module = module
        self._device = module.chars.weight.device

    @torch.inference_mode()
    def get_codes(self, X: Any) -> np.ndarray:
        """RETURNS (ndarray): The codes of vectors, each bit -1 or 1. (words, bits)"""
        return self._module.get_codes(self._to_tensor(X)).cpu().numpy()

    @torch.inference_mode()
    def encode(
        self,
        codes: np.ndarray,
        tags: np.ndarray,
        chars: np.ndarray,
        copied: np.ndarray,
        lengths: list[int],
    ) -> Memory:
        """RETURNS (Memory): What the decoder attends to. See `Seq2Seq.forward` for the
        arguments.
        """
        to = self._to_tensor
        return self._module.encode(to(codes), to(tags), to(chars), to(copied), lengths)

    @torch.inference_mode()
    def step(
        self, memory: Memory, symbols: np.ndarray, state: torch.Tensor
    ) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
        """Take one step with some hypotheses of each word. See `search.Decoder`."""
        logs, attention, state = self._module.step(memory, self._to_tensor(symbols), state)
        return logs.cpu().numpy(), attention.cpu().numpy(), state

    def _to_tensor(self, array: Any) -> torch.Tensor:
        return torch.as_tensor(array, device=self._device)
