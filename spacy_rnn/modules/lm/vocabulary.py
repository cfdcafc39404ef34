"""The words that a language model predicts."""

from collections.abc import Iterable, Sequence

# The first words of every vocabulary: the boundary of texts, and the unknown word.
BOUNDARY, UNKNOWN = "</s>", "<unk>"
BOUNDARY_ID, UNKNOWN_ID = 0, 1
# The target of a position without a loss.
NO_TARGET = -1


class Vocabulary:
    """Look up words.

    words (Sequence[str]): The boundary of texts, the unknown word, and then the most
        frequent first.
    """

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        # The names of the special words are unknown words in a text.
        self._ids = {word: i for i, word in enumerate(self.words) if i > UNKNOWN_ID}

    def __len__(self) -> int:
        return len(self.words)

    def get_ids(self, words: Iterable[str]) -> list[int]:
        """RETURNS (List[int]): The ID of each word, or that of the unknown word."""
        get = self._ids.get
        return [get(word, UNKNOWN_ID) for word in words]
