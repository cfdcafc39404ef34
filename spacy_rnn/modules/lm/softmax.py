"""Output layers of a language model: how probable each word of its vocabulary is."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from .cross_entropy import get_label_log_probs

# In an adaptive softmax, each cluster of rarer words is this many times narrower than the last.
DIV_VALUE = 4.0


class AdaptiveSoftmax(nn.Module):
    """Frequent words in one softmax, rarer ones in clusters that are computed where they occur
    (Grave et al. 2017, "Efficient softmax approximation for GPUs"), with torch's parameters.

    width (int): The width of the hidden states.
    n_words (int): The size of the vocabulary, the most frequent word first.
    cutoffs (Sequence[int]): Where the second and later clusters begin.
    """

    def __init__(self, width: int, n_words: int, cutoffs: Sequence[int]):
        super().__init__()
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(
            width, n_words, list(cutoffs), div_value=DIV_VALUE
        )

    def forward(self, H: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Get the logarithm of the probability of a word for each hidden state.

        H (Tensor): The hidden states. (N, width)
        words (Tensor): The words. (N,)
        RETURNS (Tensor): Natural logarithms, in single precision. (N,)
        """
        # Torch's own forward would take the logarithms in half precision where autocast is on.
        head, cutoffs = self.softmax.shortlist_size, self.softmax.cutoffs
        labels, parts = words.clone(), []
        for i, tail in enumerate(self.softmax.tail):
            inside = (words >= cutoffs[i]) & (words < cutoffs[i + 1])
            rows = inside.nonzero().squeeze(1)
            labels[rows] = head + i
            parts.append((rows, self._get_tail(tail, H, rows, words[rows] - cutoffs[i])))
        found = get_label_log_probs(H, self.softmax.head.weight, None, labels)
        for rows, logs in parts:
            found = found.index_add(0, rows, logs)
        return found

    def _get_tail(
        self, tail: nn.Module, H: torch.Tensor, rows: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        project, output = cast(tuple[nn.Linear, nn.Linear], tail)
        return get_label_log_probs(project(H.index_select(0, rows)), output.weight, None, labels)

    def get_log_probs(self, H: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): The logarithms for the whole vocabulary. (N, words)"""
        return self.softmax.log_prob(H)


class TiedSoftmax(nn.Module):
    """One softmax over all words, whose weights are the words' embeddings in the input (Press &
    Wolf 2017, "Using the Output Embedding to Improve Language Models"), and a bias.

    n_words (int): The size of the vocabulary.
    """

    def __init__(self, n_words: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_words))

    def forward(self, H: torch.Tensor, words: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Get the logarithm of the probability of a word for each hidden state.

        H (Tensor): The hidden states. (N, width)
        words (Tensor): The words. (N,)
        table (Tensor): The words' embeddings. (words, width)
        RETURNS (Tensor): Natural logarithms, in single precision. (N,)
        """
        return get_label_log_probs(H, table, self.bias, words)

    def get_log_probs(self, H: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): The logarithms for the whole vocabulary. (N, words)"""
        return F.log_softmax(F.linear(H, table, self.bias).float(), dim=1)
