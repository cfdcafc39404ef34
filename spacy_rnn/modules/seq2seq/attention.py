"""Attention of a decoder's states to an encoder's."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Memory:
    """What the decoder of some words attends to.

    values (Tensor): The encoder's states, zeros for padding. (words, length, width)
    keys (Tensor): What they are compared by. (words, length, attention width)
    mask (Tensor): Where there is a symbol. (words, length)
    copied (Tensor): The symbol that copying writes, 0 for padding. (words, length)
    condition (Tensor): What the decoder reads with each symbol. (words, condition width)
    state (Tensor): The decoder's first state. (words, 1, states)
    """

    values: torch.Tensor
    keys: torch.Tensor
    mask: torch.Tensor
    copied: torch.Tensor
    condition: torch.Tensor
    state: torch.Tensor

    def select(self, words: np.ndarray) -> "Memory":
        """RETURNS (Memory): The memory of some of the words."""
        return replace(self, **{name: value[words] for name, value in vars(self).items()})


class Attention(nn.Module):
    """Compare the decoder's states with the encoder's.

    kind (str): "dot" for their product, "general" for the product after a linear map (Luong et al.
        2015), or "additive" for a network of one layer (Bahdanau et al. 2015).
    width (int): The width of both.
    """

    def __init__(self, kind: str, width: int):
        super().__init__()
        self.kind = kind
        if kind != "dot":
            self.key = nn.Linear(width, width, bias=kind == "additive")
        if kind == "additive":
            self.query = nn.Linear(width, width, bias=False)
            self.score = nn.Linear(width, 1, bias=False)

    def get_keys(self, values: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): The keys of the encoder's states. (words, length, width)"""
        keys: torch.Tensor = values if self.kind == "dot" else self.key(values)
        return keys

    def forward(self, H: torch.Tensor, memory: Memory) -> torch.Tensor:
        """RETURNS (Tensor): The attention weights of decoder states, (words, steps, width). (words,
        steps, length)
        """
        if self.kind == "additive":
            mixed = self.query(H).unsqueeze(2) + memory.keys.unsqueeze(1)
            scores = self.score(mixed.tanh()).squeeze(3)
        else:
            scores = H @ memory.keys.transpose(1, 2)
        return scores.masked_fill(~memory.mask.unsqueeze(1), -torch.inf).softmax(dim=2)
