"""The perplexity of language models on texts."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy
from spacy.util import minibatch

from ..modules.lm.vocabulary import UNKNOWN_ID, Vocabulary

# Texts that are scored together.
BATCH_TEXTS = 64


class WordScorer(Protocol):
    """What a language model is evaluated through: `Scorer`, or `NGramScorer`."""

    vocabulary: Vocabulary

    def get_log_probs(
        self, texts: Sequence[Sequence[str]], direction: int = 0
    ) -> list[numpy.ndarray]:
        """RETURNS (List[ndarray]): As `Scorer.get_log_probs`."""
        ...


@dataclass
class LMScore:
    """The scores of texts. A model predicts the words of each text and its end, without the texts
    before it. A word that is not in the vocabulary has the probability of the unknown word.

    n_texts (int): The number of texts.
    n_words (int): The number of words in them, without the ends.
    n_unknown (int): The number of words that are not in the vocabulary.
    total (float): The sum of the natural log-probabilities of words and ends.
    unknown (float): The part of this sum from words that are not in the vocabulary.
    """

    n_texts: int = 0
    n_words: int = 0
    n_unknown: int = 0
    total: float = 0.0
    unknown: float = 0.0

    @property
    def perplexity(self) -> float:
        """RETURNS (float): The perplexity of words and ends. NaN without texts."""
        n = self.n_words + self.n_texts
        return math.exp(-self.total / n) if n else math.nan

    @property
    def known_perplexity(self) -> float:
        """RETURNS (float): The perplexity without words that are not in the vocabulary."""
        n = self.n_words + self.n_texts - self.n_unknown
        return math.exp((self.unknown - self.total) / n) if n else math.nan

    @property
    def unknown_rate(self) -> float:
        """RETURNS (float): The share of words that are not in the vocabulary."""
        return self.n_unknown / self.n_words if self.n_words else 0.0

    def to_dict(self) -> dict[str, float]:
        """RETURNS (Dict[str, float]): The figures to report, for JSON."""
        return {
            "perplexity": self.perplexity,
            "known_perplexity": self.known_perplexity,
            "texts": self.n_texts,
            "words": self.n_words,
            "unknown_words": self.n_unknown,
            "unknown_rate": self.unknown_rate,
        }


def evaluate_language_model(
    scorer: WordScorer, texts: Iterable[Sequence[str]], direction: int = 0
) -> LMScore:
    """Score texts.

    scorer (WordScorer): The model.
    texts (Iterable[Sequence[str]]): The words of each text. Empty texts are skipped.
    direction (int): 0 for forward, 1 for backward.
    RETURNS (LMScore): The scores.
    """
    score = LMScore()
    for batch in minibatch((words for words in texts if words), BATCH_TEXTS):
        for words, logs in zip(batch, scorer.get_log_probs(batch, direction), strict=True):
            is_unknown = numpy.asarray(scorer.vocabulary.get_ids(words)) == UNKNOWN_ID
            score.n_texts += 1
            score.n_words += len(words)
            score.n_unknown += int(is_unknown.sum())
            score.total += float(logs.sum(dtype="d"))
            score.unknown += float(logs[:-1][is_unknown].sum(dtype="d"))
    return score
