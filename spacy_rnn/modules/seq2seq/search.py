"""Beam search, and reading a given string, with a decoder in either form."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .alphabet import END

# With at most this share of words that are not done, the others are left out of the batch.
MIN_DONE = 0.75


class Decoder(Protocol):
    """A decoder, by torch or on arrays."""

    def step(self, memory: Any, symbols: np.ndarray, state: Any) -> tuple[np.ndarray, Any, Any]:
        """Take one step with some hypotheses of each word.

        memory (Any): What `encode` returned, or `select` of it.
        symbols (ndarray): The last symbol of each hypothesis. int64, (words, hypotheses)
        state (Any): Their states. (words, hypotheses, ...)
        RETURNS (Tuple[ndarray, ndarray, Any]): The log-probabilities of the next symbol, (words,
            hypotheses, symbols), the attention weights, (words, hypotheses, length), and the states
            after.
        """
        ...


@dataclass(frozen=True)
class Found:
    """The best strings of some words, best first.

    symbols (ndarray): The symbols, END after each string. (words, n_best, longest)
    logs (ndarray): The log-probabilities of the strings, -inf for none. (words, n_best)
    """

    symbols: np.ndarray
    logs: np.ndarray


def search(
    decoder: Decoder,
    memory: Any,
    limits: np.ndarray,
    *,
    beam_width: int = 1,
    length_penalty: float = 0.0,
    n_best: int = 1,
) -> Found:
    """Find the best strings for words by beam search. The strings for a word do not depend on the
    other words.

    Every hypothesis may end at any step, and the best that ended are kept. The search for a word
    is over when no other can become better than those.

    decoder (Decoder): The decoder.
    memory (Any): What it attends to.
    limits (ndarray): The most symbols to write for each word, without END. (words,)
    beam_width (int): How many hypotheses of each word are followed. 1 follows the best symbol only.
    length_penalty (float): Strings are compared by their log-probability divided by their number of
        symbols, END included, to this power. 0 compares probabilities.
    n_best (int): How many strings to return, at most.
    RETURNS (Found): The strings.
    """
    n, longest = len(limits), int(limits.max(initial=0))
    symbols = np.zeros((n, n_best, longest + 1), dtype=np.int64)
    logs = np.full((n, n_best), -np.inf)
    ranks = np.full((n, n_best), -np.inf)
    # The words that are not done, and their hypotheses.
    words, state = np.arange(n), memory.state
    history = np.zeros((n, 1, 0), dtype=np.int64)
    scores = np.zeros((n, 1))
    last = np.full((n, 1), END, dtype=np.int64)
    for step in range(longest + 1):
        step_logs, _, state = decoder.step(memory, last, state)
        totals = scores[:, :, None] + step_logs
        totals[limits[words] < step] = -np.inf
        _keep_best(words, history, totals[:, :, END], step, length_penalty, symbols, logs, ranks)
        totals[:, :, END] = -np.inf
        scores, parents, last = _extend(totals, beam_width)
        rows = np.arange(len(words))[:, None]
        history = np.concatenate([history[rows, parents], last[:, :, None]], axis=2)
        # What a hypothesis can reach at best: nothing more is lost, and it is as long as can be.
        bound = scores[:, 0] / (limits[words] + 1.0) ** length_penalty
        kept = np.flatnonzero((limits[words] > step) & (bound > ranks[words, -1]))
        if not len(kept):
            break
        if len(kept) > MIN_DONE * len(words):
            # A few that are done cost less than a copy of the others.
            state = state[rows, parents]
            continue
        memory, state = memory.select(kept), state[kept[:, None], parents[kept]]
        words, history, scores, last = words[kept], history[kept], scores[kept], last[kept]
    return Found(symbols, logs)


def _extend(totals: np.ndarray, beam_width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray, ndarray]): The scores of the best hypotheses, best first,
    the hypotheses they extend, and their last symbols. Each (words, hypotheses)
    """
    n, _, n_symbols = totals.shape
    flat = totals.reshape(n, -1)
    if beam_width == 1:
        best = flat.argmax(axis=1)[:, None]
    else:
        best = np.argsort(-flat, axis=1, kind="stable")[:, :beam_width]
    scores = np.take_along_axis(flat, best, axis=1)
    return scores, best // n_symbols, best % n_symbols


def _keep_best(
    words: np.ndarray,
    history: np.ndarray,
    ended: np.ndarray,
    step: int,
    length_penalty: float,
    symbols: np.ndarray,
    logs: np.ndarray,
    ranks: np.ndarray,
) -> None:
    """Put hypotheses that end here among the best of their words."""
    n_best = logs.shape[1]
    new_ranks = ended / (step + 1.0) ** length_penalty
    all_ranks = np.concatenate([ranks[words], new_ranks], axis=1)
    order = np.argsort(-all_ranks, axis=1, kind="stable")[:, :n_best]
    padded = np.zeros((*history.shape[:2], symbols.shape[2]), dtype=np.int64)
    padded[:, :, :step] = history
    rows = np.arange(len(words))[:, None]
    symbols[words] = np.concatenate([symbols[words], padded], axis=1)[rows, order]
    logs[words] = np.concatenate([logs[words], ended], axis=1)[rows, order]
    ranks[words] = all_ranks[rows, order]


def read(
    decoder: Decoder, memory: Any, inputs: np.ndarray, symbols: np.ndarray, lengths: list[int]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Let a decoder read given strings, step by step.

    decoder (Decoder): The decoder.
    memory (Any): What it attends to.
    inputs, symbols, lengths: The strings as `Alphabet.encode_targets` returns them.
    RETURNS (Tuple[ndarray, List[ndarray]]): The log-probability of each symbol, (N,), and the
        attention weights of each step. Each (words, length)
    """
    sizes = np.asarray(lengths)
    starts = np.cumsum(sizes) - sizes
    logs = np.empty(len(symbols), dtype=np.float32)
    state, weights = memory.state, []
    for step in range(int(sizes.max(initial=0))):
        places = starts + np.minimum(step, sizes - 1)
        step_logs, attention, state = decoder.step(memory, inputs[places][:, None], state)
        here = np.flatnonzero(step < sizes)
        logs[places[here]] = step_logs[here, 0, symbols[places[here]]]
        weights.append(attention[:, 0])
    return logs, weights
