"""The labels of a morphologizer as groups of scores: one for all labels, or one for the part of
speech and one for each feature.
"""

from collections.abc import Sequence

import numpy
from spacy.morphology import Morphology
from spacy.parts_of_speech import IDS, NAMES
from spacy.vocab import Vocab

# The ID of a part of speech, and the hash of a token's features. Zero is missing annotation.
Gold = tuple[int, int]
# The ID of a part of speech, and a token's features in the format of Universal Dependencies.
Analysis = tuple[int, str]

POS_FEATURE = "POS"


def make_label(vocab: Vocab, gold: Gold) -> str:
    """RETURNS (str): spaCy's label for a part of speech and features. Empty if both are missing."""
    pos, morph = gold
    if not pos and not morph:
        return ""
    features = Morphology.feats_to_dict(vocab.strings[morph])
    if pos:
        features[POS_FEATURE] = NAMES[pos]
    return vocab.strings[vocab.morphology.add(features)]


def parse_label(label: str) -> Analysis:
    """RETURNS (Tuple[int, str]): The analysis that a label stands for."""
    features = Morphology.feats_to_dict(label)
    pos = IDS[features.pop(POS_FEATURE, "")]
    return pos, Morphology.dict_to_feats(features)


class CombinedLabels:
    """Predict each combination of a part of speech and features as one label.

    labels_morph (Dict[str, str]): The features of each label.
    labels_pos (Dict[str, int]): The part of speech of each label.

    analyses (List[Tuple[int, str]]): The analysis that each label stands for.
    sizes (List[int]): The number of columns of scores in each group that shares a softmax.
    """

    def __init__(self, labels_morph: dict[str, str], labels_pos: dict[str, int]):
        self.analyses = [(labels_pos[label], morph) for label, morph in labels_morph.items()]
        self.sizes = [len(labels_morph)]
        self._numbers = {label: i for i, label in enumerate(labels_morph)}

    def encode(self, vocab: Vocab, gold: Gold) -> Sequence[int]:
        """RETURNS (List[int]): The right column in each group, -1 for missing annotation. A
        KeyError or ValueError is raised if there is none.
        """
        label = make_label(vocab, gold)
        return [self._numbers[label] if label else -1]

    def decode(self, scores: numpy.ndarray) -> numpy.ndarray:
        """RETURNS (ndarray): The number of the best label for each row of scores."""
        return scores.argmax(axis=1)


class FactoredLabels:
    """Predict the best part of speech, and given that, the label whose values have the highest sum
    of scores. Arguments, attributes and methods are as in `CombinedLabels`.
    """

    def __init__(self, labels_morph: dict[str, str], labels_pos: dict[str, int]):
        self.analyses = [(labels_pos[label], morph) for label, morph in labels_morph.items()]
        parsed = [(pos, Morphology.feats_to_dict(morph)) for pos, morph in self.analyses]
        # Without any part of speech, all tokens have none.
        self._pos = sorted({pos for pos, _ in parsed if pos}) or [0]
        self._features = {
            name: ["", *sorted({each[name] for _, each in parsed if name in each})]
            for name in sorted({name for _, each in parsed for name in each})
        }
        self.sizes = [len(self._pos), *map(len, self._features.values())]
        starts = numpy.cumsum([0, *self.sizes[:-1]])
        self._groups = [
            slice(start, start + size) for start, size in zip(starts, self.sizes, strict=True)
        ]
        # Of each part of speech: its labels (columns), and where they differ, their values (rows).
        self._labels: list[list[int]] = [[] for _ in self._pos]
        rows: list[list[list[int]]] = [[] for _ in self._pos]
        self._numbers: dict[bytes, int] = {}
        for i, (pos, features) in enumerate(parsed):
            if pos in self._pos:
                row = self._encode(pos, features)
                self._labels[row[0]].append(i)
                rows[row[0]].append(row)
                self._numbers[numpy.asarray(row, dtype="uint16").tobytes()] = i
        columns = [(starts + numpy.asarray(each)).T for each in rows]
        # Added to scores, to exclude values that no label has with the best part of speech.
        self._penalties = numpy.full((len(rows), sum(self.sizes)), -numpy.inf, dtype="float32")
        for penalties, each in zip(self._penalties, columns, strict=True):
            penalties[each] = 0
        self._varies = [(each != each[:, :1]).any(axis=1) for each in columns]
        self._columns = [each[some] for each, some in zip(columns, self._varies, strict=True)]

    def encode(self, vocab: Vocab, gold: Gold) -> Sequence[int]:
        """RETURNS (List[int]): The right column in each group, -1 for missing annotation. A
        KeyError or ValueError is raised if there is none.
        """
        pos, morph = gold
        row = self._encode(pos, Morphology.feats_to_dict(vocab.strings[morph]))
        if not morph:
            return [row[0], *[-1] * len(self._features)]
        # Where all labels of the part of speech have the same value, there is nothing to learn.
        if row[0] >= 0:
            row[1:] = numpy.where(self._varies[row[0]], row, -1)[1:].tolist()
        return row

    def _encode(self, pos: int, features: dict[str, str]) -> list[int]:
        if not self._features.keys() >= features.keys():
            raise ValueError(f"Unknown features: {features}")
        values = [values.index(features.get(name, "")) for name, values in self._features.items()]
        return [self._pos.index(pos) if pos or self._pos == [0] else -1, *values]

    def decode(self, scores: numpy.ndarray) -> numpy.ndarray:
        """RETURNS (ndarray): The number of the best label for each row of scores."""
        allowed = scores + self._penalties[scores[:, self._groups[0]].argmax(axis=1)]
        best = [allowed[:, group].argmax(axis=1) for group in self._groups]
        rows = numpy.stack(best, axis=1, dtype="uint16", casting="unsafe")
        keys = rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel().tolist()
        found = numpy.asarray([self._numbers.get(key, -1) for key in keys], dtype="i")
        # The best values of a few tokens in a hundred are no label together.
        for i in numpy.flatnonzero(found < 0):
            pos = rows[i, 0]
            sums = scores[i].take(self._columns[pos]).sum(axis=0)
            found[i] = self._labels[pos][sums.argmax()]
        return found
