"""Sentence boundaries from scores."""

from itertools import pairwise

import numpy as np


def find_starts(scores: np.ndarray, given: np.ndarray, max_length: int) -> np.ndarray:
    """Find where sentences of a Doc start: where that is given, and where it is more probable than
    not. A longer sentence is divided where a boundary is most probable in its middle half.

    scores (ndarray): The logarithm of the odds that a token starts a sentence. (n,)
    given (ndarray): 1 if a token is known to start a sentence, -1 if it is known not to, 0 if that
        is not known. (n,)
    max_length (int): The most tokens in a sentence.
    RETURNS (ndarray): Whether each token starts a sentence. (n,)
    """
    starts: np.ndarray = np.where(given == 0, scores > 0, given == 1)
    starts[:1] = True
    pending = list(pairwise([*np.flatnonzero(starts).tolist(), len(starts)]))
    # Where there is known to be no boundary comes after all other places.
    order = np.where(given == -1, scores - 2 * np.abs(scores).max(initial=1), scores)
    while pending:
        start, end = pending.pop()
        if end - start > max_length:
            quarter = (end - start + 3) // 4
            middle = start + quarter + int(order[start + quarter : end - quarter + 1].argmax())
            starts[middle] = True
            pending += [(start, middle), (middle, end)]
    return starts
