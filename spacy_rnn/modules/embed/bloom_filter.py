"""Approximate membership in a set."""

import torch
from torch import nn


class BloomFilter(nn.Module):
    """A Bloom filter (Bloom 1970). It has no false negatives. Its rate of false positives is the
    share of bits that are set to the power of the number of hashes.

    n_bits (int): The number of bits.
    """

    def __init__(self, n_bits: int):
        super().__init__()
        # No buffer, which would become another object when the module is moved.
        bits = torch.zeros(n_bits, dtype=torch.bool)
        self.bits = nn.Parameter(bits, requires_grad=False)

    def forward(self, keys: torch.Tensor) -> torch.Tensor:
        """Look up elements.

        keys (Tensor): The hashes of each element, as numbers of bits. (n, hashes)
        RETURNS (Tensor): Whether each was added. (n,)
        """
        return self.bits[keys].all(dim=1)

    def add(self, keys: torch.Tensor) -> None:
        """Add elements by their hashes. (n, hashes)"""
        self.bits[keys.flatten()] = True
