"""The cross-entropy of taggers, for all tokens of a batch together."""

from collections.abc import Sequence
from typing import Any

import numpy
from spacy.attrs import ORTH
from spacy.training import Example
from thinc.api import Ops

from ..layers.ragged import split


def read_gold(eg: Example, attrs: Sequence[int]) -> numpy.ndarray | None:
    """RETURNS (Optional[ndarray]): Attributes of the gold tokens. None if the predicted tokens are
    not the same, so that they have to be aligned. (tokens, attrs)
    """
    gold = eg.reference.to_array([ORTH, *attrs]).reshape(-1, 1 + len(attrs))
    words = eg.predicted.to_array([ORTH]).ravel()
    return gold[:, 1:] if numpy.array_equal(words, gold[:, 0]) else None


def compute_flat_loss(
    ops: Ops,
    probabilities: Sequence[Any],
    truths: numpy.ndarray,
    sizes: Sequence[int],
    label_smoothing: float = 0.0,
) -> tuple[float, list[Any]]:
    """Compute the loss that spaCy's tagger reports and its gradient, that of the cross-entropy.

    ops (Ops): The model's backend.
    probabilities (Sequence[Floats2d]): The probabilities for each Doc's tokens, in groups of
        columns, each with a softmax of its own. (tokens, columns)
    truths (ndarray): The right column in each group, counted from the group's first; -1 if it is
        missing. (N, groups)
    sizes (Sequence[int]): The number of columns in each group.
    label_smoothing (float): The probability that is spread over the other columns of each group. In
        a group of n columns, 1 - 1/n at most.
    RETURNS (Tuple[float, List[Floats2d]]): The loss, and its gradient by each Doc's scores.
    """
    widths = numpy.asarray(sizes)
    smoothing = numpy.minimum(label_smoothing, 1 - 1 / widths)
    others = smoothing / numpy.maximum(widths - 1, 1)
    known = truths >= 0
    tokens, groups = numpy.nonzero(known)
    columns = (numpy.cumsum(widths) - widths)[groups] + truths[tokens, groups]
    xp = ops.xp
    gradient = xp.concatenate(probabilities)
    if label_smoothing:
        gradient -= xp.asarray(numpy.repeat(others, widths), dtype=gradient.dtype)
    right = (1 - smoothing - others)[groups]
    gradient[xp.asarray(tokens), xp.asarray(columns)] -= xp.asarray(right, dtype=gradient.dtype)
    if not known.all():
        gradient[xp.asarray(numpy.repeat(~known, widths, axis=1))] = 0
    return float((gradient**2).sum()), split(gradient, [len(Y) for Y in probabilities])
