"""An encoder and a decoder with attention over characters (Sutskever et al. 2014; Bahdanau et al.
2015; Luong et al. 2015), and a gate that copies (See et al. 2017, "Get To The Point").

The encoder reads a string from both ends. The decoder's first state comes from the encoder's last
states. Each of its states attends to the string, and what it attends to decides with it about the
next symbol. A symbol is written from the alphabet or, with the probability that the gate gives,
copied from a place in the string with that place's attention weight.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..rnn import torch_layers
from ..rnn.cells import CELLS
from ..rnn.dropout import locked_dropout
from ..rnn.encoder_stack import EncoderStack
from ..rnn.layer import get_weights, make_layer
from .alphabet import UNKNOWN
from .attention import Attention, Memory

# The smallest probability whose logarithm is taken.
LEAST = 1e-30


class Seq2Seq(nn.Module):
    """Write a string from a string, conditioned on a vector and on tags.

    nI (int): The width of the vector, such as the token's vector in context.
    n_chars (int): The size of the alphabet.
    n_tags (int): The number of tags, such as the part of speech and features.
    width (int): The width of the encoder's output, both directions together, and of the decoder.
    char_width (int): The width of a symbol's embedding, and of the condition.
    depth (int): The number of layers of the encoder. The decoder has one.
    cell (str): The kind of cell, a key of `CELLS`.
    attention (str): "dot", "general" or "additive".
    copy (bool): Whether symbols can be copied.
    context_bits (int): The vector is rounded to a code of so many bits, each -1 or 1, so that a
        word is decoded once for all contexts with the same code. 0 leaves the vector out.
    """

    def __init__(
        self,
        nI: int,
        n_chars: int,
        n_tags: int,
        *,
        width: int,
        char_width: int,
        depth: int,
        cell: str,
        attention: str,
        copy: bool,
        context_bits: int,
    ):
        super().__init__()
        self.cell, self.width, self.n_chars, self.copy = CELLS[cell], width, n_chars, copy
        self.context = nn.Linear(nI, context_bits) if context_bits else None
        n_conditions = context_bits + n_tags
        self.condition = nn.Linear(n_conditions, char_width) if n_conditions else None
        self.chars = nn.Embedding(n_chars, char_width)
        nn.init.normal_(self.chars.weight, std=0.1)
        self.encoder = EncoderStack(char_width, width, depth=depth, cell=cell)
        self.first = nn.Linear(width + char_width, width * self.cell.n_states)
        self.decoder = make_layer(cell, 2 * char_width, width, False)
        self.attention = Attention(attention, width)
        self.mix = nn.Linear(2 * width, width)
        # The last output is the gate.
        self.output = nn.Linear(width, n_chars + copy)
        # A tag that training never showed changes nothing.
        if self.condition is not None:
            nn.init.zeros_(self.condition.weight[:, context_bits:])

    def forward(
        self,
        X: torch.Tensor,
        *,
        tags: torch.Tensor,
        chars: torch.Tensor,
        copied: torch.Tensor,
        lengths: list[int],
        inputs: torch.Tensor,
        symbols: torch.Tensor,
        target_lengths: list[int],
        dropout: float = 0.0,
        sampling: float = 0.0,
        smoothing: float = 0.0,
        is_train: bool = False,
    ) -> torch.Tensor:
        """Compute the log-probability of each symbol of given strings, with teacher forcing: the
        decoder reads the string that it has to write.

        X (Tensor): The vector of each word. (words, nI)
        tags (Tensor): 1 for each of its tags, 0 for the others. (words, n_tags)
        chars, copied, lengths: The words as `Alphabet.encode` returns them.
        inputs, symbols, target_lengths: The strings as `Alphabet.encode_targets` returns them.
        dropout (float): The rate of dropout at embeddings, conditions and outputs.
        sampling (float): The probability that the decoder reads its own best symbol instead, as it
            does in prediction (scheduled sampling, Bengio et al. 2015). What that is comes from a
            run with teacher forcing (Mihaylova & Martins 2019).
        smoothing (float): The share of the mean log-probability of all symbols of the alphabet
            (label smoothing).
        is_train (bool): Whether gradients will be asked for.
        RETURNS (Tensor): The log-probabilities. (N,)
        """
        codes = self.get_codes(X)
        memory = self.encode(codes, tags, chars, copied, lengths, dropout, is_train=is_train)
        if sampling:
            with torch.no_grad():
                H = self._decode(inputs, target_lengths, memory, 0.0)
                probs, _ = self.get_probs(H[_pad(target_lengths, X.device)[0]], memory)
                best = probs.argmax(dim=2)[_pad(target_lengths, X.device)[1]]
            inputs = _sample(inputs, best, target_lengths, sampling, self.n_chars)
        H = self._decode(inputs, target_lengths, memory, dropout)
        return self._get_logs(H, symbols, target_lengths, memory, dropout, smoothing)

    def get_codes(self, X: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): The codes of vectors, each bit -1 or 1. The gradient passes
        the rounding as if it were tanh (straight-through estimator, Bengio et al. 2013).
        (words, context_bits)
        """
        if self.context is None:
            return X.new_zeros(len(X), 0)
        numbers = self.context(X)
        soft = numbers.tanh()
        return torch.where(numbers > 0, 1.0, -1.0).to(soft.dtype) + soft - soft.detach()

    def encode(
        self,
        codes: torch.Tensor,
        tags: torch.Tensor,
        chars: torch.Tensor,
        copied: torch.Tensor,
        lengths: list[int],
        dropout: float = 0.0,
        *,
        is_train: bool = False,
    ) -> Memory:
        """RETURNS (Memory): What the decoder attends to. See `forward` for the arguments."""
        n, device = len(lengths), codes.device
        rows = torch.arange(n, device=device).repeat_interleave(torch.tensor(lengths).to(device))
        X = locked_dropout(self.chars(chars), rows, n, dropout)
        S = self.encoder(X, lengths, dropout=0.0, is_train=is_train)
        places, mask = _pad(lengths, device)
        half, ends = self.width // 2, places.amax(dim=1)
        last = torch.cat([S[ends, :half], S[places[:, 0], half:]], dim=1)
        condition = X.new_zeros(n, X.shape[1])
        if self.condition is not None:
            condition = self.condition(torch.cat([codes, tags.to(codes.dtype)], dim=1))
            condition = F.dropout(condition, dropout)
        state = self.first(torch.cat([last, condition], dim=1)).tanh()
        values = S[places] * mask.unsqueeze(2)
        return Memory(
            values,
            self.attention.get_keys(values),
            mask,
            copied[places] * mask,
            condition,
            state.unsqueeze(1),
        )

    def step(
        self, memory: Memory, symbols: torch.Tensor, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Take one step with some hypotheses of each word.

        memory (Memory): The memory of the words.
        symbols (Tensor): The last symbol of each hypothesis. (words, hypotheses)
        state (Tensor): The state of each. (words, hypotheses, states)
        RETURNS (Tuple[Tensor, Tensor, Tensor]): The log-probabilities of the next symbol, (words,
            hypotheses, n_chars + length); the attention weights, (words, hypotheses, length); and
            the states after.
        """
        n, size = symbols.shape
        symbols = torch.where(symbols < self.n_chars, symbols, UNKNOWN)
        condition = memory.condition.unsqueeze(1).expand(-1, size, -1)
        X = torch.cat([self.chars(symbols), condition], dim=2).flatten(0, 1)
        before = tuple(
            part.unsqueeze(0).contiguous() for part in state.flatten(0, 1).split(self.width, dim=1)
        )
        weights = get_weights(self.decoder)
        H, after = torch_layers.run_layer(self.cell, weights, X, [1] * len(X), before)
        probs, attention = self.get_probs(H.view(n, size, -1), memory)
        return probs.log(), attention, torch.cat(after, dim=2).view(n, size, -1)

    def get_probs(self, H: torch.Tensor, memory: Memory) -> tuple[torch.Tensor, torch.Tensor]:
        """RETURNS (Tuple[Tensor, Tensor]): The probabilities of all symbols at each state, (words,
        steps, n_chars + length), and the attention weights, (words, steps, length).
        """
        attention = self.attention(H, memory)
        scores, gate = self._get_scores(H, attention @ memory.values, 0.0)
        own = F.pad(scores.softmax(dim=2), (0, attention.shape[2]))
        if not self.copy:
            return own.clamp_min(LEAST), attention
        places = memory.copied.unsqueeze(1).expand_as(attention)
        copied = torch.zeros_like(own).scatter_add(2, places, attention)
        return (gate.sigmoid() * own + (-gate).sigmoid() * copied).clamp_min(LEAST), attention

    def _decode(
        self, inputs: torch.Tensor, lengths: list[int], memory: Memory, dropout: float
    ) -> torch.Tensor:
        """RETURNS (Tensor): The decoder's states. (N, width)"""
        n, device = len(lengths), inputs.device
        rows = torch.arange(n, device=device).repeat_interleave(torch.tensor(lengths).to(device))
        X = locked_dropout(self.chars(inputs), rows, n, dropout)
        X = torch.cat([X, memory.condition[rows]], dim=1)
        state = tuple(
            part.transpose(0, 1).contiguous() for part in memory.state.split(self.width, dim=2)
        )
        # The gradient goes on to the encoder: our kernels have none for the first state.
        H, _ = torch_layers.run_layer(self.cell, get_weights(self.decoder), X, lengths, state)
        return H

    def _get_scores(
        self, H: torch.Tensor, contexts: torch.Tensor, dropout: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """RETURNS (Tuple[Tensor, Tensor]): The scores of the alphabet, from states and what they
        attend to, and the score of the gate. (..., n_chars) and (..., 1 or 0)
        """
        mixed = self.mix(torch.cat([H, contexts], dim=-1)).tanh()
        outputs = self.output(F.dropout(mixed, dropout))
        scores, gate = outputs.split([self.n_chars, int(self.copy)], dim=-1)
        never = torch.zeros(self.n_chars, dtype=torch.bool, device=H.device)
        never[UNKNOWN] = True
        return scores.masked_fill(never, -torch.inf), gate

    def _get_logs(
        self,
        H: torch.Tensor,
        symbols: torch.Tensor,
        lengths: list[int],
        memory: Memory,
        dropout: float,
        smoothing: float,
    ) -> torch.Tensor:
        """RETURNS (Tensor): The log-probability of one symbol at each state. (N,)"""
        # Only attention needs padding.
        places, mask = _pad(lengths, H.device)
        attention = self.attention(H[places], memory)
        scores, gate = self._get_scores(H, (attention @ memory.values)[mask], dropout)
        all_logs = scores.log_softmax(dim=1)
        is_known = symbols < self.n_chars
        known = torch.where(is_known, symbols, 0).unsqueeze(1)
        logs = all_logs.gather(1, known).squeeze(1)
        logs = torch.where(is_known, logs, torch.full_like(logs, float(np.log(LEAST))))
        if self.copy:
            is_same = symbols[places].unsqueeze(2) == memory.copied.unsqueeze(1)
            copied = (attention * (is_same & memory.mask.unsqueeze(1))).sum(dim=2)[mask]
            gate = gate.squeeze(1)
            logs = torch.logaddexp(
                F.logsigmoid(gate) + logs, F.logsigmoid(-gate) + copied.clamp_min(LEAST).log()
            )
        if smoothing:
            known_logs = torch.cat([all_logs[:, :UNKNOWN], all_logs[:, UNKNOWN + 1 :]], dim=1)
            logs = (1 - smoothing) * logs + smoothing * known_logs.mean(dim=1)
        return logs


def _pad(lengths: list[int], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """RETURNS (Tuple[Tensor, Tensor]): Where in a flat batch each symbol of each word is, the last
    one's place for padding, and where there is one. (words, longest)
    """
    sizes = np.asarray(lengths, dtype=np.int64)[:, None]
    steps = np.arange(sizes.max(initial=0))
    starts = np.cumsum(sizes)[:, None] - sizes
    places = starts + np.minimum(steps, sizes - 1)
    return torch.from_numpy(places).to(device), torch.from_numpy(steps < sizes).to(device)


def _sample(
    inputs: torch.Tensor, best: torch.Tensor, lengths: list[int], rate: float, n_chars: int
) -> torch.Tensor:
    """RETURNS (Tensor): Inputs. Some, but not the first, are replaced by the decoder's output."""
    written = torch.where(best < n_chars, best, UNKNOWN).roll(1)
    replaced = torch.rand(len(inputs), device=inputs.device) < rate
    replaced[torch.from_numpy(np.cumsum(lengths) - np.asarray(lengths)).to(inputs.device)] = False
    return torch.where(replaced, written, inputs)
