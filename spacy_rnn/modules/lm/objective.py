"""Language modelling as a second objective of training."""

import torch
from torch import nn
from torch.nn import functional as F


class LMObjective(nn.Module):
    """How badly each direction of a recurrent layer predicts the word it reads next (Rei 2017,
    "Semi-supervised Multitask Learning for Sequence Labeling"). It makes a network learn from all
    words, where labels alone say little.

    nI (int): The width of both directions together.
    nH (int): The width of the hidden layer.
    nO (int): How many words are told apart.
    """

    def __init__(self, nI: int, nH: int, nO: int):
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(nI // 2, nH) for _ in range(2))
        self.output = nn.ModuleList(nn.Linear(nH, nO) for _ in range(2))

    def forward(self, X: torch.Tensor, words: torch.Tensor, firsts: torch.Tensor) -> torch.Tensor:
        """Get the cross-entropy of the neighbouring words, summed over tokens.

        X (Tensor): The output of the recurrent layer, the forward direction's half first. (N, nI)
        words (Tensor): The number of each token's word, below nO. (N,)
        firsts (Tensor): The tokens that have another one after them in their sequence. (M,)
        RETURNS (Tensor): The sum of both directions. ()
        """
        forward, backward = X.chunk(2, dim=1)
        seconds = firsts + 1
        sides = [(forward[firsts], words[seconds]), (backward[seconds], words[firsts])]
        losses = [
            F.cross_entropy(output(torch.tanh(hidden(half))), target, reduction="sum")
            for hidden, output, (half, target) in zip(self.hidden, self.output, sides, strict=True)
        ]
        return torch.stack(losses).sum()
