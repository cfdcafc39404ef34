"""Running text on several rows side by side, as a language model reads it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..modules.lm.language_model import BOUNDARY_ID, NO_TARGET, Vocabulary


@dataclass(frozen=True)
class LMBatch:
    """Some steps of text on each row.

    words (List[str]): The distinct words that are read.
    inputs (ndarray): The number of the word that each direction reads at each step in each row; 0
        is a boundary, and 1 the first word. (directions, steps, rows)
    targets (ndarray): The place in the vocabulary of the word that comes next, or NO_TARGET where
        a row has ended. (directions, steps, rows)
    """

    words: list[str]
    inputs: np.ndarray
    targets: np.ndarray

    @property
    def n_targets(self) -> int:
        """RETURNS (int): The number of words that each direction predicts."""
        return int((self.targets[0] != NO_TARGET).sum())

    def take_rows(self, part: int, n_parts: int) -> "LMBatch":
        """RETURNS (LMBatch): An equal part of the rows, for one of several processes."""
        rows = slice(part, None, n_parts)
        return LMBatch(self.words, self.inputs[:, :, rows], self.targets[:, :, rows])


class LMBatcher:
    """Put texts on rows. A row takes the next text when it runs out of words; a boundary is before
    and after each text. The backward direction reads the same texts on the same rows, each from its
    end.

    vocabulary (Vocabulary): The words to predict.
    n_rows (int): The number of rows.
    n_steps (int): The number of steps of a batch.
    n_directions (int): 1 for forward, 2 for both.
    """

    def __init__(self, vocabulary: Vocabulary, n_rows: int, n_steps: int, n_directions: int):
        self.vocabulary = vocabulary
        self.n_rows = n_rows
        self.n_steps = n_steps
        self.n_directions = n_directions
        self.n_texts = 0
        # Words waiting in each direction and row; None is a boundary.
        self._waiting: list[list[list[str | None]]] = [
            [[None] for _ in range(n_rows)] for _ in range(n_directions)
        ]

    def get_batches(self, texts: Iterable[list[str]], *, to_end: bool = False) -> Iterator[LMBatch]:
        """Divide texts into batches, until there are none left for a full one. What is left then is
        where the next call begins.

        texts (Iterable[List[str]]): The words of each text. Empty texts are skipped.
        to_end (bool): Whether to go on until every word was predicted, with less and less rows.
        YIELDS (LMBatch): The batches.
        """
        texts = iter(texts)
        while self._fill(texts):
            yield self._take()
        while to_end and any(len(row) > 1 for row in self._waiting[0]):
            yield self._take()

    def get_state(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): How far the batcher is, for JSON."""
        return {"n_texts": self.n_texts, "waiting": self._waiting}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where another one was.

        state (Dict[str, Any]): What its `get_state` returned.
        """
        self.n_texts = state["n_texts"]
        self._waiting = [[list(row) for row in rows] for rows in state["waiting"]]

    def _fill(self, texts: Iterator[list[str]]) -> bool:
        for i in range(self.n_rows):
            while len(self._waiting[0][i]) <= self.n_steps:
                text = next(texts, None)
                if text is None:
                    return False
                self.n_texts += 1
                if not text:
                    continue
                for words, rows in zip((text, text[::-1]), self._waiting, strict=False):
                    rows[i].extend([*words, None])
        return True

    def _take(self) -> LMBatch:
        shape = (self.n_directions, self.n_steps, self.n_rows)
        inputs = np.full(shape, BOUNDARY_ID)
        targets = np.full(shape, NO_TARGET)
        numbers: dict[str | None, int] = {None: 0}
        chunks = []
        for direction, rows in enumerate(self._waiting):
            for i, row in enumerate(rows):
                chunk = row[: self.n_steps + 1]
                del row[: min(self.n_steps, len(row) - 1)]
                chunks.append((direction, i, chunk))
                for word in chunk[:-1]:
                    numbers.setdefault(word, len(numbers))
        known: dict[str | None, int] = {None: BOUNDARY_ID}
        distinct = {word for _, _, chunk in chunks for word in chunk if word is not None}
        known.update(zip(distinct, self.vocabulary.get_ids(distinct), strict=True))
        for direction, i, chunk in chunks:
            n = len(chunk) - 1
            inputs[direction, :n, i] = [numbers[word] for word in chunk[:-1]]
            targets[direction, :n, i] = [known[word] for word in chunk[1:]]
        words = [word for word in numbers if word is not None]
        return LMBatch(words, inputs, targets)
