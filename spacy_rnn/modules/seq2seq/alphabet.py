"""The symbols that a decoder reads and writes, and strings as numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

# The end of a string, and what a decoder reads first. Any character that is not in the alphabet.
# Characters follow.
END, UNKNOWN, N_SPECIAL = 0, 1, 2


@dataclass(frozen=True)
class Sources:
    """Strings for an encoder, one after another, each with END behind it.

    chars (ndarray): Their symbols, UNKNOWN for characters that are not in the alphabet. (N,)
    copied (ndarray): The symbols that copying them writes: a character that is not in the alphabet
        has a symbol of its own in each string, after the alphabet. (N,)
    lengths (List[int]): The number of symbols of each string, with END.
    """

    chars: np.ndarray
    copied: np.ndarray
    lengths: list[int]


@dataclass(frozen=True)
class Targets:
    """Strings for a decoder, one after another, each with END behind it.

    inputs (ndarray): What it reads: END, and the symbols before the last. (N,)
    symbols (ndarray): What it has to write, symbols of the alphabet or of the source. (N,)
    lengths (List[int]): The number of symbols of each string, with END.
    """

    inputs: np.ndarray
    symbols: np.ndarray
    lengths: list[int]


class Alphabet:
    """The characters that a decoder can write.

    chars (Sequence[str]): The characters.
    """

    def __init__(self, chars: Sequence[str]):
        self.chars = list(chars)
        self._symbols = {char: N_SPECIAL + i for i, char in enumerate(self.chars)}

    def __len__(self) -> int:
        return N_SPECIAL + len(self.chars)

    @classmethod
    def count(cls, pairs: Iterable[tuple[str, str]], min_freq: int) -> "Alphabet":
        """Find the characters that are frequent, or can't be copied.

        pairs (Iterable[Tuple[str, str]]): Sources and targets.
        min_freq (int): In how many strings a character must be, unless a target has it whose source
            does not.
        RETURNS (Alphabet): The alphabet.
        """
        counts: Counter = Counter()
        for source, target in pairs:
            counts.update({*source, *target})
            counts.update(dict.fromkeys(set(target).difference(source), min_freq))
        return cls(sorted(char for char, n in counts.items() if n >= min_freq))

    def encode(self, words: Sequence[str]) -> Sources:
        """RETURNS (Sources): Strings for the encoder."""
        copied = [[*self._get_symbols(word, word), END] for word in words]
        flat = np.asarray([symbol for row in copied for symbol in row], dtype=np.int64)
        chars = np.where(flat < len(self), flat, UNKNOWN)
        return Sources(chars, flat, [len(row) for row in copied])

    def encode_targets(self, words: Sequence[str], targets: Sequence[str]) -> Targets:
        """RETURNS (Targets): Strings for the decoder, from the strings they were written from."""
        rows = [
            [*self._get_symbols(target, word), END]
            for word, target in zip(words, targets, strict=True)
        ]
        symbols = np.asarray([symbol for row in rows for symbol in row], dtype=np.int64)
        before = [symbol for row in rows for symbol in (END, *row[:-1])]
        return Targets(self.to_inputs(np.asarray(before)), symbols, [len(row) for row in rows])

    def to_inputs(self, symbols: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): What the decoder reads after it has written some symbols."""
        return np.where(symbols < len(self), symbols, UNKNOWN).astype(np.int64)

    def can_write(self, word: str, target: str) -> bool:
        """RETURNS (bool): Whether all characters of a target are in the alphabet or the source."""
        return all(char in self._symbols or char in word for char in target)

    def decode(self, symbols: Iterable[int], word: str) -> str:
        """RETURNS (str): The string of some symbols, without END, from the string that they were
        written from.
        """
        size = len(self)
        return "".join(
            self.chars[symbol - N_SPECIAL] if symbol < size else word[symbol - size]
            for symbol in symbols
        )

    def _get_symbols(self, string: str, word: str) -> list[int]:
        known = self._symbols
        size = len(self)
        return [known[c] if c in known else size + word.index(c) for c in string]
