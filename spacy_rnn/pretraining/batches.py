"""Batches of running text for truncated backpropagation through time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy
from spacy.language import Language
from thinc.api import Model

from ..layers.bilm import get_embed
from ..layers.torch_arrays import to_torch
from ..layers.torch_shim import get_shim
from ..layers.word_features import get_features
from ..modules.lm.vocabulary import BOUNDARY_ID, NO_TARGET, Vocabulary


@dataclass(frozen=True)
class LMBatch:
    """The next steps of the text in each row.

    words (List[str]): The distinct input words.
    inputs (ndarray): The input word of each step: 0 is a boundary, i is `words[i - 1]`.
        (directions, steps, rows)
    targets (ndarray): The vocabulary ID of the next word, or NO_TARGET where a row has ended.
        (directions, steps, rows)
    """

    words: list[str]
    inputs: numpy.ndarray
    targets: numpy.ndarray

    @property
    def n_targets(self) -> int:
        """RETURNS (int): The number of words that each direction predicts."""
        return int((self.targets[0] != NO_TARGET).sum())

    def take_rows(self, rank: int, n_processes: int) -> "LMBatch":
        """RETURNS (LMBatch): The rows of one of several processes."""
        rows = slice(rank, None, n_processes)
        return LMBatch(self.words, self.inputs[:, :, rows], self.targets[:, :, rows])

    def to_torch(self, nlp: Language, model: Model, word_dropout: float = 0.0) -> tuple[Any, ...]:
        """RETURNS (Tuple): The first arguments of a `LanguageModel`, for a pipeline and its
        `spacy-rnn.BiLM.v1` layer: the features of words, inputs, targets and the number of rows.
        """
        # The vocab must not keep the words of all batches.
        with nlp.memory_zone():
            features = get_features(get_embed(model), self.words or [" "], nlp.vocab, word_dropout)
        device, arrays = get_shim(model).device, (self.inputs, self.targets)
        tensors = {name: to_torch(array, device) for name, array in features.items()}
        steps = (to_torch(array, device).flatten(1) for array in arrays)
        return tensors, *steps, self.inputs.shape[2]


class LMBatcher:
    """Distribute texts over rows. A row that runs out of words takes the next text. A boundary
    precedes and follows each text. The backward direction reads the same texts in the same rows,
    each reversed.

    vocabulary (Vocabulary): The words to predict.
    n_rows, n_steps, n_directions (int): The shape of a batch. 2 directions are forward and
        backward.
    """

    def __init__(self, vocabulary: Vocabulary, n_rows: int, n_steps: int, n_directions: int):
        self.vocabulary = vocabulary
        self.n_rows = n_rows
        self.n_steps = n_steps
        self.n_directions = n_directions
        self.n_texts = 0
        # The words ahead in each direction and row. None is a boundary.
        self._waiting: list[list[list[str | None]]] = [
            [[None] for _ in range(n_rows)] for _ in range(n_directions)
        ]

    def get_batches(self, texts: Iterable[list[str]], *, to_end: bool = False) -> Iterator[LMBatch]:
        """Divide texts into batches until too few words are left for a full one. These come first
        in the next call.

        texts (Iterable[List[str]]): The words of each text. Empty texts are skipped.
        to_end (bool): Whether to continue, with fewer and fewer rows, until all words are read.
        YIELDS (LMBatch): The batches.
        """
        texts = iter(texts)
        while self._fill(texts):
            yield self._take()
        while to_end and any(len(row) > 1 for row in self._waiting[0]):
            yield self._take()

    def copy_empty(self) -> "LMBatcher":
        """RETURNS (LMBatcher): A batcher for other texts, otherwise equal."""
        return LMBatcher(self.vocabulary, self.n_rows, self.n_steps, self.n_directions)

    def get_state(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): The position in the texts, for JSON."""
        return {"n_texts": self.n_texts, "waiting": self._waiting}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from the state that another batcher's `get_state` returned."""
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
        inputs = numpy.full((self.n_directions, self.n_steps, self.n_rows), BOUNDARY_ID)
        targets = numpy.full_like(inputs, NO_TARGET)
        numbers: dict[str | None, int] = {None: 0}
        for direction, rows in enumerate(self._waiting):
            for i, row in enumerate(rows):
                n = min(self.n_steps, len(row) - 1)
                read, following = row[:n], row[1 : n + 1]
                del row[:n]
                inputs[direction, :n, i] = [numbers.setdefault(w, len(numbers)) for w in read]
                ids = self.vocabulary.get_ids([w or "" for w in following])
                targets[direction, :n, i] = [
                    BOUNDARY_ID if word is None else place
                    for word, place in zip(following, ids, strict=True)
                ]
        words = [word for word in numbers if word is not None]
        return LMBatch(words, inputs, targets)
