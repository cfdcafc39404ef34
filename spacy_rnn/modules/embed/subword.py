"""Hashed character n-grams, for many words at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Marks at the beginning and the end of a word.
_BEGIN, _END = "\x02", "\x03"
# Odd multipliers: 2^64 divided by the golden ratio (Knuth 1973), and the second one of the
# finaliser of MurmurHash3.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MURMUR = np.uint64(0xC4CEB9FE1A85EC53)
_INVERSE = np.uint64(pow(int(_GOLDEN), -1, 2**64))


def mix_hash(values: np.ndarray, salt: int | np.ndarray = 0) -> np.ndarray:
    """Scatter 64-bit numbers evenly, as the finaliser of MurmurHash3 does.

    values (ndarray): Unsigned 64-bit integers, of any shape.
    salt (int / ndarray): Chooses one of many independent hash functions, for all values or, in an
        array that broadcasts, for each.
    RETURNS (ndarray): Unsigned 64-bit integers of the same shape.
    """
    hashed = values ^ (np.atleast_1d(np.uint64(1) + np.asarray(salt, dtype=np.uint64)) * _GOLDEN)
    hashed = (hashed ^ (hashed >> np.uint64(33))) * _MURMUR
    return hashed ^ (hashed >> np.uint64(29))


@dataclass(frozen=True)
class Subwords:
    """The hashed parts of words, as unsigned 64-bit integers.

    ngrams (ndarray): The character n-grams of all words, word by word. (M,)
    starts (ndarray): The place of each word's first n-gram. A short word may have none. (words,)
    affixes (ndarray): The prefix and suffix of each length, or a whole shorter word.
        (words, prefix sizes + suffix sizes)
    """

    ngrams: np.ndarray
    starts: np.ndarray
    affixes: np.ndarray


def hash_subwords(
    words: Sequence[str],
    ngram_sizes: Sequence[int],
    prefix_sizes: Sequence[int],
    suffix_sizes: Sequence[int],
    max_chars: int,
) -> Subwords:
    """Hash the character n-grams (Bojanowski et al. 2017, "Enriching Word Vectors with Subword
    Information"), prefixes and suffixes of words.

    words (Sequence[str]): The words, at least one.
    ngram_sizes (Sequence[int]): The lengths of the n-grams, with a begin and an end mark.
    prefix_sizes, suffix_sizes (Sequence[int]): The lengths of the affixes.
    max_chars (int): The number of characters that are read of longer words, from both ends.
    RETURNS (Subwords): The hashes.
    """
    half = max_chars // 2
    marked = [
        _BEGIN + (word if len(word) <= max_chars else word[:half] + word[-half:]) + _END
        for word in words
    ]
    text = "".join(marked).encode("utf-32-le", errors="surrogatepass")
    chars = np.frombuffer(text, dtype="<u4").astype(np.uint64) + np.uint64(1)
    lengths = np.fromiter(map(len, marked), dtype=np.int64, count=len(marked))
    ends = np.cumsum(lengths)
    begins = ends - lengths
    hash_slices = _SliceHasher(chars)
    positions = np.arange(len(chars))
    left = np.repeat(ends, lengths) - positions
    present = np.stack([left >= size for size in ngram_sizes] or [left < 0], axis=1)
    hashes = np.stack(
        [
            hash_slices(positions, np.minimum(positions + size, len(chars)), salt=0)
            for size in ngram_sizes
        ]
        or [chars],
        axis=1,
    )
    counts = np.add.reduceat(present.sum(axis=1), begins)
    affixes = [hash_slices(begins, np.minimum(begins + 1 + n, ends), 1) for n in prefix_sizes]
    affixes += [hash_slices(np.maximum(ends - 1 - n, begins), ends, 2) for n in suffix_sizes]
    return Subwords(
        hashes[present],
        np.cumsum(counts) - counts,
        np.stack(affixes, axis=1) if affixes else np.zeros((len(words), 0), np.uint64),
    )


class _SliceHasher:
    """Hash any slices of a text: differences of the running sum of a polynomial, all modulo
    2^64, where odd numbers have inverses (Karp & Rabin 1987).
    """

    def __init__(self, chars: np.ndarray):
        powers = np.full(len(chars) + 1, _GOLDEN)
        powers[0] = 1
        self._inverses = np.full(len(chars) + 1, _INVERSE)
        self._inverses[0] = 1
        np.cumprod(self._inverses, out=self._inverses)
        self._sums = np.zeros(len(chars) + 1, dtype=np.uint64)
        np.cumsum(chars * np.cumprod(powers)[:-1], out=self._sums[1:])

    def __call__(self, begins: np.ndarray, ends: np.ndarray, salt: int) -> np.ndarray:
        return mix_hash((self._sums[ends] - self._sums[begins]) * self._inverses[begins], salt)
