"""Posterior decoding: the spans that are probable, whatever else the sequence holds."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from .chain import Chain
from .tagging_scheme import BEGIN, INSIDE, LAST, UNIT, TaggingScheme

# The start, end (exclusive), label and probability of a span of a sequence's tokens.
ProbableSpan = tuple[int, int, int, float]


def find_probable(
    chain: Chain, scheme: TaggingScheme, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find all spans that are at least as probable as a threshold. None is missed: the beginning
    of a span is at least as probable as the span, so that less probable ones can be left.

    chain (Chain): The sequences, with the tags of the scheme.
    scheme (TaggingScheme): The tags.
    threshold (float): The threshold, above 0.
    RETURNS (Tuple[ndarray, ndarray, ndarray, ndarray]): The packed position of each span's first
        token, its length, its label and its probability. Each (spans,)
    """
    n = scheme.n_labels
    marginals = chain.get_marginals()
    first_unit, first_begin = scheme.get_tag(0, UNIT), scheme.get_tag(0, BEGIN)
    units = marginals[:, first_unit : first_unit + n]
    starts, labels = (units >= threshold).nonzero()
    found = [(starts, np.ones_like(starts), labels, units[starts, labels])]
    # What begins a span and goes on: its first and its last position, its label, and the forward
    # sum of its tags.
    begins = marginals[:, first_begin : first_begin + n]
    starts, labels = (begins >= threshold).nonzero()
    begun = (starts, starts, labels, chain.forward_sums[starts, scheme.get_tag(labels, BEGIN)])
    length, before = 1, BEGIN
    while len(begun[0]):
        starts, ends, labels, sums = begun
        length += 1
        ends = chain.layout.inverse[chain.layout.order[ends] + 1]
        for i, part in ((1, LAST), (0, INSIDE)):
            tags = scheme.get_tag(labels, part)
            factors = chain.factors.inner[i, before, labels]
            longer = sums * chain.get_step(factors, ends, tags)
            probs = longer * chain.backward_sums[ends, tags]
            keep = probs >= threshold
            if part == LAST:
                lengths = np.full_like(starts, length)
                found.append((starts[keep], lengths[keep], labels[keep], probs[keep]))
            else:
                begun = (starts[keep], ends[keep], labels[keep], longer[keep])
        before = INSIDE
    starts, lengths, labels, probs = map(np.concatenate, zip(*found, strict=True))
    return starts, lengths, labels, np.minimum(probs, 1.0)


def choose_disjoint(spans: Sequence[ProbableSpan], threshold: float) -> list[ProbableSpan]:
    """Of spans that overlap, choose those whose probabilities exceed the threshold by most, all
    added up (weighted interval scheduling, by dynamic programming).

    spans (Sequence[ProbableSpan]): The spans of a sequence, none less probable than the threshold.
    threshold (float): The threshold.
    RETURNS (List[ProbableSpan]): Those chosen, in order.
    """
    ordered = sorted(spans, key=lambda span: (span[1], span[0], span[3]))
    ends, gains = [0], [0.0]
    # For each span, the number of spans before it to choose from; None if the best leave it out.
    choices: list[int | None] = [None]
    for start, end, _, prob in ordered:
        before = bisect_right(ends, start) - 1
        gain = gains[before] + (prob - threshold)
        is_chosen = gain >= gains[-1]
        choices.append(before if is_chosen else None)
        gains.append(gain if is_chosen else gains[-1])
        ends.append(end)
    chosen = []
    i = len(ordered)
    while i:
        before_it = choices[i]
        if before_it is not None:
            chosen.append(ordered[i - 1])
        i = i - 1 if before_it is None else before_it
    return chosen[::-1]
