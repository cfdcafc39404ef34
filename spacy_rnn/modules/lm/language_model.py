"""A language model: words in, how probable the next word is out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..cache import cached
from ..rnn.cells import State
from ..rnn.lm_stack import LMStack
from .softmax import AdaptiveSoftmax, TiedSoftmax
from .vocabulary import NO_TARGET


@dataclass(frozen=True)
class Dropout:
    """The rates of dropout in training (Merity et al. 2018, "Regularizing and Optimizing LSTM
    Language Models").

    layers (float): For features, at the input of each layer and after the last, with one mask for
        all time steps.
    words (float): For words, each in all its positions in a batch.
    weights (float): For recurrent weights.
    """

    layers: float = 0.0
    words: float = 0.0
    weights: float = 0.0


class LanguageModel(nn.Module):
    """Predict the next word in each direction. All directions share the embedding and the softmax
    (Peters et al. 2018, "Deep contextualized word representations").

    embed (nn.Module): Embeds words, given their features.
    stack (LMStack): The recurrent layers.
    softmax (AdaptiveSoftmax / TiedSoftmax): The softmax.
    vocabulary (Optional[Mapping[str, Tensor]]): The features of a `TiedSoftmax`'s words.
    """

    def __init__(
        self,
        embed: nn.Module,
        stack: LMStack,
        softmax: AdaptiveSoftmax | TiedSoftmax,
        vocabulary: Mapping[str, torch.Tensor] | None = None,
    ):
        super().__init__()
        self.embed = embed
        self.stack = stack
        self.softmax = softmax
        self._vocabulary = vocabulary

    def forward(
        self,
        features: Mapping[str, Any],
        inputs: torch.Tensor,
        targets: torch.Tensor,
        n_rows: int,
        states: Sequence[State] | None = None,
        dropout: Dropout = Dropout(),
    ) -> tuple[torch.Tensor, list[State]]:
        """Read some steps of text on several rows side by side.

        features (Mapping[str, Any]): The arguments of `embed` for the distinct words.
        inputs (Tensor): The word that each direction reads at each step in each row: 0 is a
            boundary, 1 the first of the distinct words. (directions, steps x rows)
        targets (Tensor): The ID of the next word, or NO_TARGET. (directions, steps x rows)
        n_rows (int): The number of rows.
        states (Optional[Sequence[State]]): The states that the last call returned.
        dropout (Dropout): The rates of dropout.
        RETURNS (Tuple[Tensor, List[State]]): The negative log-likelihood of each direction,
            (directions,), and the states after the last step.
        """
        words = torch.cat([self.stack.boundary, self.embed(**features)])
        if dropout.words:
            kept = words.new_ones(len(words), 1)
            words = words * F.dropout(kept, dropout.words)
        # Rows are sequences. The stack reads them backward from the last position.
        places, targets = (
            torch.stack([part.flip(1) if i else part for i, part in enumerate(parts)], dim=2)
            for parts in (
                tensor.view(len(tensor), -1, n_rows).transpose(1, 2) for tensor in (inputs, targets)
            )
        )
        X = F.embedding(places, words).flatten(2).flatten(0, 1)
        outputs, states = self.stack.run(
            X,
            [places.shape[1]] * n_rows,
            states,
            dropout=dropout.layers,
            weight_drop=dropout.weights,
        )
        H, targets = outputs[-1].view(-1, self.stack.width), targets.flatten()
        directions = torch.arange(len(targets), device=H.device) % len(inputs)
        counted = targets != NO_TARGET
        if not bool(counted.all()):
            # Indices are slow in the backward pass.
            H, targets, directions = H[counted], targets[counted], directions[counted]
        logs = self.get_word_log_probs(H, targets)
        return -logs.new_zeros(len(inputs)).index_add(0, directions, logs), states

    def get_word_log_probs(self, H: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): The log-probability of one word for each hidden state. (N,)"""
        return self.softmax(H, words, *self._get_table())

    def get_log_probs(self, H: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): The log-probabilities of all words. (N, words)"""
        return self.softmax.get_log_probs(H, *self._get_table())

    def _get_table(self) -> list[torch.Tensor]:
        if isinstance(self.softmax, AdaptiveSoftmax):
            return []
        if self._vocabulary is None:
            raise ValueError("A tied softmax needs the features of the vocabulary's words.")
        embed = partial(self.embed, **self._vocabulary)
        if not torch.is_inference_mode_enabled():
            return [embed()]
        return [cached(self.softmax, "table", self.embed.parameters(), embed)]
