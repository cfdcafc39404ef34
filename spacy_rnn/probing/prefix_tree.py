"""Sequences that share their prefixes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class PrefixTree:
    """A tree whose nodes are the distinct prefixes of some sequences, the empty one first, and then
    shorter ones before longer ones: steps, as `TracedStack` takes them.

    words (List[str]): The last word of each node but the first. (nodes - 1,)
    starts (ndarray): The first node of each length, and the number of nodes.
    previous (ndarray): The node that each node but the first continues. (nodes - 1,)
    ends (ndarray): The node of each sequence. (sequences,)
    """

    words: list[str]
    starts: numpy.ndarray
    previous: numpy.ndarray
    ends: numpy.ndarray

    @classmethod
    def from_sequences(cls, sequences: Sequence[Sequence[str]]) -> "PrefixTree":
        """RETURNS (PrefixTree): The tree of some sequences of words."""
        words: list[str] = []
        previous: list[int] = []
        starts, ends = [0, 1], [0] * len(sequences)
        for depth in range(max(map(len, sequences), default=0)):
            nodes: dict[tuple[int, str], int] = {}
            for i, sequence in enumerate(sequences):
                if depth < len(sequence):
                    key = (ends[i], sequence[depth])
                    if key not in nodes:
                        nodes[key] = starts[-1] + len(nodes)
                        previous.append(ends[i])
                        words.append(sequence[depth])
                    ends[i] = nodes[key]
            starts.append(starts[-1] + len(nodes))
        arrays = (numpy.array(values, dtype=numpy.int64) for values in (starts, previous, ends))
        return cls(words, *arrays)
