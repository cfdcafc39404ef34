"""The labels of a morphologizer, as what each of the two output layers predicts: numbers of labels,
or a part of speech and the values of features.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

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

    sizes (List[int]): The number of columns of scores in each group that shares a softmax.
    """

    def __init__(self, labels_morph: dict[str, str], labels_pos: dict[str, int]):
        self.sizes = [len(labels_morph)]
        self._numbers = {label: i for i, label in enumerate(labels_morph)}
        self._analyses = [(labels_pos[label], morph) for label, morph in labels_morph.items()]

    def encode(self, vocab: Vocab, gold: Gold) -> Sequence[int]:
        """RETURNS (List[int]): The right column in each group, -1 for missing annotation. A
        KeyError is raised if there is none.
        """
        label = make_label(vocab, gold)
        return [self._numbers[label] if label else -1]

    def decode(self, scores: numpy.ndarray) -> numpy.ndarray:
        """RETURNS (ndarray): The prediction for each row of scores, in a form for `read`."""
        return scores.argmax(axis=1)

    def read(self, predictions: numpy.ndarray) -> tuple[list[Analysis], Any]:
        """RETURNS (Tuple[List[Tuple[int, str]], ndarray / List[int]]): The distinct analyses in
        predictions, and for each prediction the number of its analysis among these.
        """
        distinct, places = numpy.unique(predictions, return_inverse=True)
        return [self._analyses[i] for i in distinct.tolist()], places


class FactoredLabels:
    """Predict a part of speech, and each feature given that: only values of features that a label
    has with the part of speech. The arguments and methods are those of `CombinedLabels`.
    """

    def __init__(self, labels_morph: dict[str, str], labels_pos: dict[str, int]):
        labels = [
            (labels_pos[label], Morphology.feats_to_dict(morph))
            for label, morph in labels_morph.items()
        ]
        # Without any part of speech, all tokens have none.
        self._pos = sorted({pos for pos, _ in labels if pos}) or [0]
        names = sorted({name for _, features in labels for name in features})
        self._features = {
            name: ["", *sorted({f[name] for _, f in labels if name in f})] for name in names
        }
        self.sizes = [len(self._pos), *map(len, self._features.values())]
        n_pos, n_columns = len(self._pos), sum(self.sizes)
        starts = accumulate(self.sizes)
        self._groups = [slice(*bounds) for bounds in pairwise(starts)]
        # What is added to the scores of the values of features, so that none is chosen that was
        # not seen with the part of speech.
        self._penalties = numpy.full((n_pos, n_columns), -numpy.inf, dtype="float32")
        for pos, features in labels:
            if pos in self._pos:
                row = self._penalties[self._pos.index(pos)]
                for (name, values), group in zip(self._features.items(), self._groups, strict=True):
                    row[group.start + values.index(features.get(name, ""))] = 0
        self._analyses: dict[bytes, Analysis] = {}

    def encode(self, vocab: Vocab, gold: Gold) -> Sequence[int]:
        """RETURNS (List[int]): The right column in each group, -1 for missing annotation. A
        ValueError is raised if there is none.
        """
        pos, morph = gold
        found = [self._pos.index(pos) if pos else -1]
        if not morph:
            return found + [-1] * len(self._features)
        features = Morphology.feats_to_dict(vocab.strings[morph])
        for name, values in self._features.items():
            found.append(values.index(features.pop(name, "")))
        if features:
            raise ValueError(f"unknown features {sorted(features)}")
        return found

    def decode(self, scores: numpy.ndarray) -> numpy.ndarray:
        """RETURNS (ndarray): The column in each group, for each row of scores. (N, groups)"""
        pos = scores[:, : len(self._pos)].argmax(axis=1)
        scores = scores + self._penalties[pos]
        columns = [pos, *(scores[:, group].argmax(axis=1) for group in self._groups)]
        return numpy.stack(columns, axis=1, dtype="uint16", casting="unsafe")

    def read(self, predictions: numpy.ndarray) -> tuple[list[Analysis], Any]:
        """RETURNS (Tuple[List[Tuple[int, str]], ndarray / List[int]]): The distinct analyses in
        predictions, and for each prediction the number of its analysis among these.
        """
        rows = numpy.ascontiguousarray(predictions)
        keys = rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel().tolist()
        places = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        return list(map(self._read_key, places)), [places[key] for key in keys]

    def _read_key(self, key: bytes) -> Analysis:
        analysis = self._analyses.get(key)
        if analysis is None:
            pos, *columns = numpy.frombuffer(key, dtype="uint16").tolist()
            features = {
                name: values[column]
                for (name, values), column in zip(self._features.items(), columns, strict=True)
                if column
            }
            analysis = self._pos[pos], Morphology.dict_to_feats(features)
            self._analyses[key] = analysis
        return analysis
