"""A feed-forward language model."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ..rnn.cells import State
from ..rnn.dropout import locked_dropout


class FeedForwardLM(nn.Module):
    """Predict the next word from the embeddings of the last few words, with one hidden layer
    (Bengio et al. 2003, "A Neural Probabilistic Language Model", without direct connections). It
    runs like an `LMStack` of one layer and one direction. Its state holds the words that the next
    window begins with: in pretraining, these may belong to the text before.

    width (int): The width of the embeddings and of the output.
    hidden (int): The number of hidden units.
    window (int): The number of words read, from 1 on: one less than n of an n-gram model.
    """

    def __init__(self, width: int, *, hidden: int, window: int):
        super().__init__()
        self.n_directions, self.width, self.window = 1, width, window
        self.boundary = nn.Parameter(torch.empty(1, width).uniform_(-0.1, 0.1))
        self.hidden = nn.Linear(window * width, hidden)
        self.output = nn.Linear(hidden, width)
        for linear in (self.hidden, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        X: torch.Tensor,
        lengths: list[int],
        *,
        dropout: float = 0.0,
        is_train: bool = False,
        with_boundary: bool = False,
    ) -> torch.Tensor:
        """Encode a batch of sequences, each after a boundary.

        X, lengths, dropout, is_train, with_boundary: As `LMStack.forward` takes them.
        RETURNS (Tensor): The input and the output. (N, 2, width), or (N + 1, 2, width) with the
            boundary.
        """
        first = self.boundary.to(X.dtype)
        parts = [part for tokens in X.split(lengths) for part in (first, tokens)]
        if with_boundary:
            # As a text without words.
            parts.append(first)
        sizes = [length + 1 for length in lengths] + [1] * with_boundary
        inputs = torch.cat(parts) if parts else X
        (Y,), _ = self.run(inputs, sizes, dropout=dropout if is_train else 0.0)
        ends = np.cumsum(sizes)
        firsts = ends - sizes
        kept = np.setdiff1d(np.arange(len(Y)), firsts[: len(lengths)])
        return torch.stack([inputs, Y], dim=1)[torch.from_numpy(kept).to(Y.device)]

    def run(
        self,
        X: torch.Tensor,
        lengths: Sequence[int],
        states: Sequence[State] | None = None,
        *,
        dropout: float = 0.0,
        weight_drop: float = 0.0,
    ) -> tuple[list[torch.Tensor], list[State]]:
        """Run the model, for gradients.

        X, lengths, states, dropout: As `LMStack.run` takes them. Words before the first are zero.
        weight_drop (float): Not used, as there are no recurrent weights.
        RETURNS (Tuple[List[Tensor], List[State]]): The output, (N, width), and the words that the
            next window begins with, (1, sequences, (window - 1) x width).
        """
        n, before = len(lengths), self.window - 1
        rows = torch.arange(n).repeat_interleave(torch.tensor(lengths)).to(X.device)
        dropped = locked_dropout(X, rows, n, dropout)
        if states is None:
            old = X.new_zeros(n, before, self.width)
        else:
            old = states[0][0][0].to(X.dtype).view(n, before, self.width)
        pieces = [
            part
            for state, tokens in zip(old, dropped.split(list(lengths)), strict=True)
            for part in (state, tokens)
        ]
        read = torch.cat(pieces) if pieces else X
        # Where each window begins among these.
        sizes = np.asarray(lengths, dtype=np.int64)
        begins = np.arange(sizes.sum()) + np.repeat(np.arange(n) * before, sizes)
        windows = torch.from_numpy(begins[:, None] + np.arange(self.window)).to(X.device)
        inputs = read.index_select(0, windows.flatten()).view(len(X), -1)
        Y = self.output(torch.tanh(self.hidden(inputs)))
        ends = np.cumsum(sizes + before)
        last = torch.from_numpy(ends[:, None] - np.arange(before, 0, -1)).to(X.device)
        state = read.detach().index_select(0, last.flatten()).view(1, n, before * self.width)
        return [locked_dropout(Y, rows, n, dropout)], [(state,)]
