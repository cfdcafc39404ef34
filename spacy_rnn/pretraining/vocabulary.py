"""The words that a language model can predict."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..modules.lm.language_model import BOUNDARY, UNKNOWN

# Words seen once are dropped from the counts whenever there are more than this many.
MAX_COUNTED = 5_000_000


@dataclass(frozen=True)
class Counts:
    """What is known of texts after reading them once.

    vocabulary (List[str]): The boundary of texts, the unknown word, and then the most frequent word
        first, equally frequent ones by the alphabet.
    n_texts (int): The number of texts that have words.
    n_words (int): The number of words.
    source (List[Any]): What says where they are from, for JSON.
    size (int): The size of the vocabulary that was asked for.
    """

    vocabulary: list[str]
    n_texts: int
    n_words: int
    source: list[Any]
    size: int

    def is_of(self, source: list[Any], size: int) -> bool:
        """RETURNS (bool): Whether these are the counts of those texts, for that size."""
        return (self.source, self.size) == (source, size)


def count_words(
    texts: Iterable[Sequence[str]], size: int, source: list[Any] | None = None
) -> Counts:
    """Find the most frequent words.

    texts (Iterable[Sequence[str]]): The words of each text.
    size (int): The number of words, with the boundary of texts and the unknown word.
    source (Optional[List[Any]]): What says where the texts are from.
    RETURNS (Counts): The vocabulary, and how much text there is.
    """
    counts: Counter[str] = Counter()
    n_texts = n_words = 0
    for words in texts:
        n_texts += bool(words)
        counts.update(words)
        n_words += len(words)
        if len(counts) > MAX_COUNTED:
            counts = Counter({word: count for word, count in counts.items() if count > 1})
    counts.pop(BOUNDARY, None)
    counts.pop(UNKNOWN, None)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    vocabulary = [BOUNDARY, UNKNOWN, *(word for word, _ in ranked[: max(size - 2, 0)])]
    return Counts(vocabulary, n_texts, n_words, source or [], size)
