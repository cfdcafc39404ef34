"""An n-gram language model with interpolated modified Kneser-Ney smoothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .vocabulary import BOUNDARY_ID


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length, numbered by rising keys. A key is made of the number of the first
    n - 1 words, in the order below, and the last word.

    keys (ndarray): The keys. int64, (ngrams,)
    shares (ndarray): The discounted probability of each n-gram's last word in its context.
        (ngrams,)
    left_over (ndarray): The probability that each context leaves to the order below. (contexts,)
    """

    keys: np.ndarray
    shares: np.ndarray
    left_over: np.ndarray


class NGramModel:
    """Estimate the probability of a word from the n - 1 words before it (Chen & Goodman 1998, "An
    Empirical Study of Smoothing Techniques for Language Modeling").

    texts (Iterable[Sequence[int]]): The IDs of the words of each text, without boundaries.
    n_words (int): The size of the vocabulary, with the boundary.
    order (int): n, from 1 on.
    RAISES (ValueError): If there are no texts.
    """

    def __init__(self, texts: Iterable[Sequence[int]], n_words: int, order: int = 5):
        self.n_words, self.order = n_words, order
        words, places = _join(texts)
        if not len(words):
            raise ValueError("An n-gram model needs texts with words.")
        self._orders: list[_Order] = []
        # The number of the n-gram that ends at each place, -1 where a text is too short.
        numbers, keys, n_contexts = words, np.arange(n_words), 1
        for k in range(order):
            # The boundary before a text is never predicted.
            ends = np.flatnonzero(places >= max(k, 1))
            counts = np.bincount(numbers[ends], minlength=len(keys))
            contexts = keys // n_words if k else np.zeros(len(keys), dtype=np.int64)
            if k + 1 < order:
                ends = np.flatnonzero(places > k)
                longer = numbers[ends - 1].astype(np.int64) * n_words + words[ends]
                longer_keys, first, inverse = np.unique(
                    longer, return_index=True, return_inverse=True
                )
                # Below the highest order, an n-gram counts once for each word before it. Nothing
                # goes before the beginning of a text.
                continued = np.bincount(numbers[ends[first]], minlength=len(keys))
                counts = np.where(continued > 0, continued, counts)
            self._orders.append(_estimate(keys, counts, contexts, n_contexts))
            if k + 1 < order:
                n_contexts, keys = len(keys), longer_keys
                numbers = np.full(len(words), -1, dtype=np.int32)
                numbers[ends] = inverse

    def get_log_probs(self, text: Sequence[int]) -> np.ndarray:
        """Get the log-probability of each word of a text and of the boundary at its end.

        text (Sequence[int]): The IDs of the words.
        RETURNS (ndarray): Natural logarithms. float64, (words + 1,)
        """
        padded = np.array([BOUNDARY_ID, *text, BOUNDARY_ID], dtype=np.int64)
        words = padded[1:]
        chances = np.full(len(words), 1.0 / self.n_words)
        for k, order in enumerate(self._orders):
            # The numbers of the k words before each word among the n-grams; -1 if not there.
            context = np.zeros(len(words), dtype=np.int64)
            for j in range(k):
                reach = np.arange(len(words)) - k + 1 + j
                word = padded[np.maximum(reach, 0)]
                context = word if not j else self._find(j, context, word)
                context = np.where(reach < 0, -1, context)
            gram = words if not k else self._find(k, context, words)
            shares = np.where(gram >= 0, order.shares[gram], 0.0)
            chances = np.where(context >= 0, shares + order.left_over[context] * chances, chances)
        return np.log(chances)

    def _find(self, k: int, context: np.ndarray, words: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): The numbers of n-grams in an order, -1 for unknown ones."""
        keys = self._orders[k].keys
        wanted = context * self.n_words + words
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where((context >= 0) & (keys[places] == wanted), places, -1)


def _join(texts: Iterable[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray]): The words of all texts with a boundary at both ends, and
    each one's place in its text.
    """
    empty = np.zeros(0, dtype=np.int32)
    parts = [np.array([BOUNDARY_ID, *text, BOUNDARY_ID], dtype=np.int32) for text in texts if text]
    places = [np.arange(len(part), dtype=np.int32) for part in parts]
    return np.concatenate([empty, *parts]), np.concatenate([empty, *places])


def _estimate(
    keys: np.ndarray, counts: np.ndarray, contexts: np.ndarray, n_contexts: int
) -> _Order:
    """Discount counts. Counts of 1, of 2, and of 3 or more have a discount each."""
    discounts = np.concatenate([[0.0], _get_discounts(counts)])[np.minimum(counts, 3)]
    totals = np.bincount(contexts, weights=counts, minlength=n_contexts)
    taken = np.bincount(contexts, weights=discounts, minlength=n_contexts)
    left_over = np.divide(taken, totals, out=np.ones_like(totals), where=totals > 0)
    shares = np.divide(
        counts - discounts, totals[contexts], out=np.zeros(len(keys)), where=counts > 0
    )
    return _Order(keys, shares, left_over)


def _get_discounts(counts: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): The discounts of counts of 1, of 2, and of 3 or more, from how many
    n-grams have a count of 1, 2, 3 and 4. (3,)
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    fallback = np.array([0.5, 1.0, 1.5])
    if (n[1:5] == 0).any():
        return fallback
    ratio = n[1] / (n[1] + 2 * n[2])
    found = np.array([k - (k + 1) * ratio * n[k + 1] / n[k] for k in (1, 2, 3)])
    # The fallback discounts of KenLM (--discount_fallback), for texts that are too few or too
    # regular.
    return found if (found > 0).all() and (found < [1, 2, 3]).all() else fallback
