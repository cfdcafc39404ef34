"""A language model: words in, how probable the next word is out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional as F

from ..cache import Version, get_version
from ..rnn.cells import State
from ..rnn.lm_stack import LMStack
from .softmax import AdaptiveSoftmax, TiedSoftmax

# Places in every vocabulary: the beginning and the end of a text, and all words that it lacks.
BOUNDARY, UNKNOWN = "</s>", "<unk>"
BOUNDARY_ID, UNKNOWN_ID = 0, 1
# The target of a position that does not count.
NO_TARGET = -1


# In prediction, the embeddings of a tied softmax's words, and the versions of the weights that they
# are of.
_tables: "WeakKeyDictionary[nn.Module, tuple[tuple[Version, ...], torch.Tensor]]"
_tables = WeakKeyDictionary()


class Vocabulary:
    """Look up words.

    words (Sequence[str]): The boundary of texts, the unknown word, and then the most
        frequent first.
    """

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        # Texts may contain what stands for the special words: it is unknown then.
        self._ids = {word: i for i, word in enumerate(self.words) if i > UNKNOWN_ID}

    def __len__(self) -> int:
        return len(self.words)

    def get_ids(self, words: Iterable[str]) -> list[int]:
        """RETURNS (List[int]): The place of each word, that of the unknown word if it is none."""
        get = self._ids.get
        return [get(word, UNKNOWN_ID) for word in words]


@dataclass(frozen=True)
class Dropout:
    """What is left out in training (Merity et al. 2018, "Regularizing and Optimizing LSTM Language
    Models"). All are probabilities.

    layers (float): Of features, at the input of each layer and after the last, with one mask for
        all time steps.
    words (float): Of whole words, in all their places in a batch.
    weights (float): Of recurrent weights.
    """

    layers: float = 0.0
    words: float = 0.0
    weights: float = 0.0


class LanguageModel(nn.Module):
    """Predict the next word in each direction. All directions share the embedding and the softmax
    (Peters et al. 2018, "Deep contextualized word representations").

    embed (nn.Module): Embeds words, given their features.
    stack (LMStack): The recurrent layers.
    softmax (nn.Module): An `AdaptiveSoftmax` or a `TiedSoftmax`.
    vocabulary (Optional[Mapping[str, Tensor]]): The features of the softmax's words, which a
        `TiedSoftmax` needs.
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

        features (Mapping[str, Any]): The arguments that make `embed` embed the distinct words.
        inputs (Tensor): The number of the word that each direction reads at each step in each row;
            0 is a boundary, and 1 the first word. (directions, steps x rows)
        targets (Tensor): The place in the vocabulary of the word that comes next, or NO_TARGET.
            (directions, steps x rows)
        n_rows (int): The number of rows.
        states (Optional[Sequence[State]]): What the last call returned, to go on from there.
        dropout (Dropout): What to leave out.
        RETURNS (Tuple[Tensor, List[State]]): The negative logarithms of the probabilities, added up
            for each direction, (directions,), and the states after the last step.
        """
        words = torch.cat([self.stack.boundary, self.embed(**features)])
        if dropout.words:
            kept = words.new_ones(len(words), 1)
            words = words * F.dropout(kept, dropout.words)
        # Rows are sequences, of which the backward direction reads the last position first.
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
        """RETURNS (Tensor): The logarithm of the probability of one word for each hidden state.
        (N,)
        """
        return self.softmax(H, words, *self._get_table())

    def get_log_probs(self, H: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): The logarithms of the probabilities of all words. (N, words)"""
        return self.softmax.get_log_probs(H, *self._get_table())

    def _get_table(self) -> list[torch.Tensor]:
        if isinstance(self.softmax, AdaptiveSoftmax):
            return []
        if self._vocabulary is None:
            raise ValueError("A tied softmax needs the features of the vocabulary's words.")
        if not torch.is_inference_mode_enabled():
            return [self.embed(**self._vocabulary)]
        versions = tuple(map(get_version, self.embed.parameters()))
        if self.softmax not in _tables or _tables[self.softmax][0] != versions:
            _tables[self.softmax] = versions, self.embed(**self._vocabulary)
        return [_tables[self.softmax][1]]
