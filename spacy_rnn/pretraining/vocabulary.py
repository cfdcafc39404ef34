"""The vocabulary of a language model: the most frequent words of its texts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import srsly

from ..modules.lm.vocabulary import BOUNDARY, UNKNOWN
from .atomic import replace_path

# Above this many distinct words, words seen only once are dropped, to bound memory.
MAX_COUNTED = 5_000_000


@dataclass(frozen=True)
class Counts:
    """Counts of the words in texts.

    vocabulary (List[str]): The boundary of texts, the unknown word, then the most frequent words.
        Ties are in alphabetical order.
    n_texts (int): The number of texts that are not empty.
    n_words (int): The number of words.
    source (List[Any]): Identifies the texts and the pretrained weights, for JSON.
    size (int): The requested size of the vocabulary.
    """

    vocabulary: list[str]
    n_texts: int
    n_words: int
    source: list[Any]
    size: int

    @classmethod
    def load(cls, path: Path) -> "Counts":
        """RETURNS (Counts): The counts in a file."""
        return cls(**srsly.read_json(path))

    def save(self, path: Path) -> None:
        """Save the counts to a JSON file."""
        with replace_path(path) as temporary:
            srsly.write_json(temporary, asdict(self))


def count_words(
    texts: Iterable[Sequence[str]], size: int, source: list[Any] | None = None
) -> Counts:
    """Count words.

    texts (Iterable[Sequence[str]]): The words of each text.
    size (int): The size of the vocabulary, including the boundary and the unknown word.
    source (Optional[List[Any]]): Identifies the texts.
    RETURNS (Counts): The counts.
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
