"""The n-gram model against its definition with dictionaries."""

import math
from collections import Counter, defaultdict

import numpy
import pytest

from spacy_rnn.modules.lm.ngram import NGramModel

N_WORDS = 12


def make_texts(n=60):
    rng = numpy.random.default_rng(0)
    # Some words are frequent, and some of the vocabulary never occur.
    p = numpy.array([8, 5, 4, 3, 2, 1, 1, 1, 0, 0]) / 25
    return [(rng.choice(10, size=rng.integers(0, 9), p=p) + 2).tolist() for _ in range(n)]


def define(texts, order):
    """A function from a context and a word to the probability."""
    padded = [[0, *text, 0] for text in texts if text]
    raw = [Counter() for _ in range(order + 1)]
    for text in padded:
        for n in range(1, order + 1):
            for i in range(len(text) - n + 1):
                if n > 1 or i:
                    raw[n][tuple(text[i : i + n])] += 1
    counts = [None, *(Counter() for _ in range(order))]
    for n in range(1, order + 1):
        for gram, count in raw[n].items():
            left = len({g[0] for g in raw[n + 1] if g[1:] == gram}) if n < order else 0
            counts[n][gram] = left or count
    tables = {}
    for n in range(1, order + 1):
        t = Counter(counts[n].values())
        y = t[1] / (t[1] + 2 * t[2]) if t[1] else 0
        if all(t[k] for k in (1, 2, 3, 4)):
            discounts = [0] + [k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3)]
        else:
            discounts = [0, 0.5, 1.0, 1.5]
        if not all(0 < d < k for k, d in enumerate(discounts) if k):
            discounts = [0, 0.5, 1.0, 1.5]
        followers = defaultdict(dict)
        for gram, count in counts[n].items():
            followers[gram[:-1]][gram[-1]] = count
        tables[n] = discounts, followers

    def probability(context, word):
        p = 1 / N_WORDS
        for n in range(1, order + 1):
            if len(context) < n - 1:
                break
            discounts, followers = tables[n]
            found = followers.get(tuple(context[len(context) - n + 1 :]))
            if not found:
                continue
            total = sum(found.values())
            count = found.get(word, 0)
            left = sum(discounts[min(c, 3)] for c in found.values()) / total
            p = (count - discounts[min(count, 3)]) / total + left * p
        return p

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_definition(order):
    texts = make_texts()
    model, probability = NGramModel(texts, N_WORDS, order), define(texts, order)
    for text in [[2, 3, 4], [11, 2, 2, 9, 10], [], [5, 1, 3, 2, 6, 4, 8]]:
        logs = model.get_log_probs(text)
        padded = [0, *text, 0]
        expected = [math.log(probability(padded[:i], padded[i])) for i in range(1, len(padded))]
        numpy.testing.assert_allclose(logs, expected, rtol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_of_all_words_add_up_to_one(order):
    model = NGramModel(make_texts(), N_WORDS, order)
    for context in ([], [2], [2, 3], [11, 11, 11], [4, 2, 3, 2]):
        total = sum(math.exp(model.get_log_probs([*context, w])[-2]) for w in range(1, N_WORDS))
        total += math.exp(model.get_log_probs(context)[-1])
        assert total == pytest.approx(1.0)


def test_texts_without_words_are_refused():
    with pytest.raises(ValueError, match="needs texts with words"):
        NGramModel([[], []], 5)
