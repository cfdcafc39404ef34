"""Embeddings of words from their characters."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from .sizes import CHAR_ROWS


class Highway(nn.Module):
    """A gate between each feature and its transformation (Srivastava et al. 2015, "Highway
    Networks"). Takes the number of features.
    """

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)
        # Before training, the gate lets most of the input through.
        nn.init.constant_(self.linear.bias[width:], -2.0)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Transform features. (N, width)"""
        transformed, gate = self.linear(X).chunk(2, dim=1)
        return torch.lerp(X, transformed.relu(), gate.sigmoid())


class CharCNN(nn.Module):
    """Embed words by convolutions over their characters, max pooling, highway layers and a linear
    map (Kim et al. 2016, "Character-Aware Neural Language Models").

    width (int): The output width.
    char_width (int): The width of a character's embedding.
    filters (Sequence[Sequence[int]]): The width and the number of filters of each convolution.
    highway_layers (int): The number of highway layers.
    """

    def __init__(
        self, width: int, char_width: int, filters: Sequence[Sequence[int]], highway_layers: int
    ):
        super().__init__()
        self.nO = width
        self.chars = nn.Embedding(CHAR_ROWS, char_width, padding_idx=0)
        self.convolutions = nn.ModuleList(nn.Conv1d(char_width, n, size) for size, n in filters)
        n_filters = sum(n for _, n in filters)
        self.highways = nn.ModuleList(Highway(n_filters) for _ in range(highway_layers))
        self.project = nn.Linear(n_filters, width)
        self._longest = max(size for size, _ in filters)

    def forward(
        self, chars: torch.Tensor, tokens: torch.Tensor, *, is_train: bool = False
    ) -> torch.Tensor:
        """Embed the tokens of a batch, computing each distinct word once.

        chars (Tensor): The rows of each word's characters, padded with zeros. (words, chars)
        tokens (Tensor): The word of each token. (N,)
        is_train (bool): Not used.
        RETURNS (Tensor): The embeddings. (N, width)
        """
        lengths = (chars != 0).sum(dim=1)
        # As many windows as characters for every word, whatever the padding.
        chars = F.pad(chars, (0, self._longest - 1))
        X = self.chars(chars).transpose(1, 2)
        parts = []
        for convolution in self.convolutions:
            Y = convolution(X)
            begins = torch.arange(Y.shape[2], device=Y.device)
            is_padding = begins >= lengths.clamp(min=1).unsqueeze(1)
            parts.append(Y.masked_fill(is_padding.unsqueeze(1), -torch.inf).amax(dim=2).relu())
        features = torch.cat(parts, dim=1)
        for highway in self.highways:
            features = highway(features)
        return F.embedding(tokens, self.project(features))
