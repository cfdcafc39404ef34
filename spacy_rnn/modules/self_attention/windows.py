"""Sequences of equal length are computed together, long ones in blocks with local windows. So
there is no padding between sequences, and none depends on the rest of the batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# Attention scores that are in memory at a time, unless one block has more.
MAX_SCORES = 2**22


@dataclass(frozen=True)
class Groups:
    """A batch ordered by the length of its sequences.

    order (ndarray): The flat position of each token in the order of groups. (N,)
    inverse (ndarray): The inverse. (N,)
    sizes (List[Tuple[int, int]]): Of each group, how many sequences it has, and of what length.
    """

    order: np.ndarray
    inverse: np.ndarray
    sizes: list[tuple[int, int]]

    @classmethod
    def from_lengths(cls, lengths: Sequence[int]) -> "Groups":
        """RETURNS (Groups): The groups of sequences of these lengths; zeros are skipped."""
        by_token = np.repeat(np.asarray(lengths, dtype=np.int64), lengths)
        order = np.argsort(by_token, kind="stable")
        found, counts = np.unique(by_token, return_counts=True)
        sizes = [
            (count // length, length)
            for length, count in zip(found.tolist(), counts.tolist(), strict=True)
        ]
        return cls(order, np.argsort(order, kind="stable"), sizes)

    def split(self, n_tokens: int) -> Iterator[tuple[slice, list[tuple[int, int]]]]:
        """Divide the groups into parts of whole sequences.

        n_tokens (int): How many tokens a part has, unless it is a single sequence.
        YIELDS (Tuple[slice, List[Tuple[int, int]]]): The tokens of a part, and its own `sizes`.
        """
        begin, sizes = 0, list[tuple[int, int]]()
        for n, length in self.sizes:
            while n:
                used = sum(count * size for count, size in sizes)
                some = min(n, (n_tokens - used) // length)
                if some <= 0 and sizes:
                    yield slice(begin, begin + used), sizes
                    begin, sizes = begin + used, []
                    continue
                sizes.append((max(some, 1), length))
                n -= max(some, 1)
        if sizes:
            yield slice(begin, len(self.order)), sizes


def count_blocks(length: int, window: int) -> int:
    """RETURNS (int): Into how many blocks of queries a sequence is divided. A block has `window`
    tokens, and reads itself and the blocks beside it.
    """
    return 1 if length <= window else -(-length // window)


def make_mask(blocks: range, length: int, window: int) -> np.ndarray:
    """Say what the queries of some blocks read: the tokens at most `window` away.

    blocks (range): The numbers of the blocks.
    length (int): The number of tokens of the sequence.
    window (int): The size of the window, and of a block.
    RETURNS (ndarray): True where a query of a block reads a key. Keys are of the block before, the
        same block and the block after. (blocks, window, 3 x window)
    """
    places = np.arange(window)[:, None], np.arange(-window, 2 * window)[None]
    is_near = abs(places[0] - places[1]) <= window
    keys = np.asarray(blocks)[:, None] * window + places[1]
    is_inside = (keys >= 0) & (keys < length)
    return is_near & is_inside[:, None]


def split_blocks(n: int, n_scores: int) -> list[range]:
    """RETURNS (List[range]): Numbers up to n, divided so that each part has up to `MAX_SCORES`.

    n (int): How many blocks there are.
    n_scores (int): How many scores each has.
    """
    step = max(1, MAX_SCORES // n_scores)
    return [range(i, min(i + step, n)) for i in range(0, n, step)]
