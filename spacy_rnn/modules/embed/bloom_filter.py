"""Membership in a set, without keeping what is in it."""

import torch
from torch import nn


class BloomFilter(nn.Module):
    """Tell whether something was added before (Bloom 1970). It never says no to what was, and
    seldom yes to what was not: for a share p of bits that are set and k hashes, with probability
    p to the power of k.

    n_bits (int): The number of bits.
    """

    def __init__(self, n_bits: int):
        super().__init__()
        # No buffer, so that it stays the same object where the module is moved.
        bits = torch.zeros(n_bits, dtype=torch.bool)
        self.bits = nn.Parameter(bits, requires_grad=False)

    def forward(self, keys: torch.Tensor) -> torch.Tensor:
        """Look things up.

        keys (Tensor): For each of them its hashes, numbers of bits. (n, hashes)
        RETURNS (Tensor): Whether it was added. (n,)
        """
        return self.bits[keys].all(dim=1)

    def add(self, keys: torch.Tensor) -> None:
        """Add things.

        keys (Tensor): As above. (n, hashes)
        """
        self.bits[keys.flatten()] = True
