"""An n-gram model of the words that a neural language model knows, to compare the two."""

from collections.abc import Iterable, Sequence

import numpy

from ..modules.lm.ngram import NGramModel
from ..modules.lm.vocabulary import Vocabulary


class NGramScorer:
    """Get the probabilities of words from an n-gram model, as `Scorer` does from a neural one.

    vocabulary (Vocabulary): The words to predict. Others count as the unknown word.
    texts (Iterable[Sequence[str]]): The words of each text to learn from.
    order (int): The number of words that are counted together.
    direction (int): 0 reads from the left, 1 from the right.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        texts: Iterable[Sequence[str]],
        order: int,
        direction: int = 0,
    ):
        self.vocabulary, self._direction = vocabulary, direction
        ids = (self._read(words) for words in texts)
        self.model = NGramModel(ids, len(vocabulary), order)

    def get_log_probs(
        self, texts: Sequence[Sequence[str]], direction: int = 0
    ) -> list[numpy.ndarray]:
        """RETURNS (List[ndarray]): As `Scorer.get_log_probs`."""
        if direction != self._direction:
            raise ValueError("The n-gram model reads in the other direction.")
        found = [self.model.get_log_probs(self._read(words)) for words in texts]
        step = -1 if direction else 1
        return [numpy.append(logs[:-1][::step], logs[-1]) for logs in found]

    def _read(self, words: Sequence[str]) -> list[int]:
        return self.vocabulary.get_ids(words[:: -1 if self._direction else 1])
