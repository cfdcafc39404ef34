"""Linear-chain conditional random fields (Lafferty et al. 2001, Lample et al. 2016) over ragged
batches: a sequence of tags has a score, the sum of a score for each token's tag and one for each
two tags that follow each other, and its probability is proportional to the score's exponential.

Tokens are in `StepMajor` order, so that all sequences take a step together. A score of minus
infinity rules a tag, or a transition, out. Illegal transitions have no scores: see `Transitions`.
Steps run on our kernels, on one thread. With many tags, or without kernels, they run in numpy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ... import kernels
from ..step_major import StepMajor
from .transitions import Transitions

# Worse than the best by this much, a tag or a transition is as good as impossible: larger
# differences are cut down to it, so that products of probabilities do not underflow.
MAX_GAP = 200.0
# With more multiplications than this in a time step, matrix products are faster than our kernels.
MAX_COMPILED = 500_000
TINY = np.finfo(np.float64).tiny

# From the gradient of the sums, (sequences,), to the gradients of scores and transitions.
Backprop = Callable[[np.ndarray], tuple[np.ndarray, Transitions]]


def log_partition(
    scores: np.ndarray, transitions: Transitions, layout: StepMajor
) -> tuple[np.ndarray, Backprop]:
    """Add up the exponentials of the scores of all sequences of tags. The gradients are the
    probabilities of tags, and the expected numbers of transitions.

    scores (ndarray): The scores of each token's tags. (N, T)
    transitions (Transitions): The scores of tags after others.
    layout (StepMajor): Where the sequences' tokens are.
    RETURNS (Tuple[ndarray, Callable]): The logarithm of the sum for each sequence, longest sequence
        first, (sequences,); minus infinity where all are ruled out. In double precision. And a
        callback from its gradient to the gradients of scores and transitions.
    """
    chain = Chain.from_scores(scores, transitions, layout)

    def backprop(d_sums: np.ndarray) -> tuple[np.ndarray, Transitions]:
        weights = d_sums[layout.rows, None]
        # What is impossible has no gradient, whatever comes after it.
        is_unused = (weights == 0) | (chain.forward_sums == 0)
        with np.errstate(over="ignore", invalid="ignore"):
            d_scores, after = chain.get_marginals(), chain.get_steps_in()
            for numbers in (d_scores, after):
                numbers *= weights
                np.copyto(numbers, 0.0, where=is_unused)
        before = chain.forward_sums.take(layout.previous, axis=0)
        return d_scores, chain.factors.expect(before, after[len(d_sums) :])

    return chain.log_sums, backprop


def get_path_scores(
    scores: np.ndarray, tags: np.ndarray, transitions: Transitions, layout: StepMajor
) -> tuple[np.ndarray, Backprop]:
    """Add up the scores of one sequence of tags for each sequence of tokens.

    scores, transitions, layout: As in `log_partition`.
    tags (ndarray): The tags. (N,)
    RETURNS (Tuple[ndarray, Callable]): As in `log_partition`, minus infinity where a tag or a
        transition is ruled out or illegal.
    """
    n_sequences, places = len(layout.ranking), np.arange(len(tags))
    before, after = tags[layout.previous], tags[n_sequences:]
    own = scores[places, tags].astype(np.float64)
    own[n_sequences:] += transitions.get(before, after, -np.inf)

    def backprop(d_sums: np.ndarray) -> tuple[np.ndarray, Transitions]:
        weights = d_sums[layout.rows]
        d_scores = np.zeros(scores.shape)
        d_scores[places, tags] = weights
        return d_scores, transitions.count(before, after, weights[n_sequences:])

    return np.bincount(layout.rows, weights=own, minlength=n_sequences), backprop


@dataclass
class Chain:
    """The forward-backward algorithm (Rabiner 1989) on a batch, in double precision.

    layout (StepMajor): Where the sequences' tokens are.
    weights (ndarray): The exponentials of the scores, each token's largest being 1. (N, T)
    factors (Transitions): The exponentials of the transitions.
    forward_sums (ndarray): The probabilities of each token's tags given the tokens so far. (N, T)
    scales (ndarray): The sums by which those were divided. (N,)
    log_sums (ndarray): As `log_partition` returns them. (sequences,)
    """

    layout: StepMajor
    weights: np.ndarray
    factors: Transitions
    forward_sums: np.ndarray
    scales: np.ndarray
    log_sums: np.ndarray

    @classmethod
    def from_scores(
        cls, scores: np.ndarray, transitions: Transitions, layout: StepMajor
    ) -> "Chain":
        """Run the forward pass. The arguments are as in `log_partition`."""
        transitions = transitions.astype(np.float64)
        best = scores.max(axis=1).astype(np.float64)
        lowest = np.finfo(np.float64).min
        gaps = np.subtract(scores, np.maximum(best, lowest)[:, None], order="C")
        weights = _exp_gaps(gaps)
        offset = max(transitions.outer.max(), transitions.inner.max())
        factors = transitions.map(lambda values: _exp_gaps(values - offset))
        sums, scales = _sum_forward(weights, factors, layout)
        n_sequences = len(layout.ranking)
        with np.errstate(divide="ignore"):
            logs = np.log(scales) + best
        logs[n_sequences:] += offset
        log_sums = np.bincount(layout.rows, weights=logs, minlength=n_sequences)
        return cls(layout, weights, factors, sums, scales, log_sums)

    @cached_property
    def backward_sums(self) -> np.ndarray:
        """RETURNS (ndarray): What the tokens after each token contribute to its tags'
        probabilities, which are the products with `forward_sums`. (N, T)
        """
        weights = self.weights / np.maximum(self.scales, TINY)[:, None]
        return _sum_backward(weights, self.factors, self.layout)

    def get_marginals(self) -> np.ndarray:
        """RETURNS (ndarray): The probability of each token's tags. (N, T)"""
        return self.forward_sums * self.backward_sums

    def get_steps_in(self) -> np.ndarray:
        """RETURNS (ndarray): Times the forward sum of the tag before and the transition's factor,
        the probability of coming from there to each tag. (N, T)
        """
        steps = self.weights * self.backward_sums
        steps /= np.maximum(self.scales, TINY)[:, None]
        return steps

    def get_step(self, factors: np.ndarray, positions: np.ndarray, tags: np.ndarray) -> np.ndarray:
        """Get what a token's tag multiplies a forward sum of the token before by.

        factors (ndarray): The factors of the transitions. (M,)
        positions (ndarray): The packed positions of the tokens. (M,)
        tags (ndarray): Their tags. (M,)
        RETURNS (ndarray): The factors: times `backward_sums`, sums are the probabilities of those
            tags in a row. (M,)
        """
        return factors * self.weights[positions, tags] / np.maximum(self.scales[positions], TINY)

    def get_span_log_probs(
        self, positions: np.ndarray, tags: np.ndarray, spans: np.ndarray, n_spans: int
    ) -> np.ndarray:
        """Get the probabilities that several tokens in a row have the tags of a span.

        positions (ndarray): The packed positions of the tokens, span by span. (M,)
        tags (ndarray): Their tags. (M,)
        spans (ndarray): The number of the span that each of them is in, rising. (M,)
        n_spans (int): The number of spans.
        RETURNS (ndarray): The logarithms of the probabilities. (n_spans,)
        """
        is_first = np.diff(spans, prepend=-1) != 0
        is_last = np.roll(is_first, -1)
        factors = self.get_step(self.factors.get_inner(np.roll(tags, 1), tags), positions, tags)
        factors = np.where(is_first, self.forward_sums[positions, tags], factors)
        factors = np.where(is_last, self.backward_sums[positions, tags] * factors, factors)
        with np.errstate(divide="ignore"):
            return np.bincount(spans, weights=np.log(factors), minlength=n_spans)


def _sum_forward(
    weights: np.ndarray, factors: Transitions, layout: StepMajor
) -> tuple[np.ndarray, np.ndarray]:
    sums = weights.copy()
    if _is_compiled(factors, layout):
        from ...kernels._kernels import sum_forward

        return sums, sum_forward(layout.starts, factors.outer, factors.inner, sums)
    scales = np.empty(len(sums))
    before = 0
    for start, end in pairwise(layout.starts.tolist()):
        current = sums[start:end]
        if start:
            factors.multiply(sums[before : before + end - start], current)
        scale = current.sum(axis=1, out=scales[start:end])
        current /= np.maximum(scale, TINY)[:, None]
        before = start
    return sums, scales


def _sum_backward(weights: np.ndarray, factors: Transitions, layout: StepMajor) -> np.ndarray:
    sums = np.ones_like(weights)
    if _is_compiled(factors, layout):
        from ...kernels._kernels import sum_backward

        transposed = np.ascontiguousarray(factors.outer.T)
        sum_backward(layout.starts, transposed, factors.inner, weights, sums)
        return sums
    starts = layout.starts.tolist()
    for before, start, end in zip(starts[-3::-1], starts[-2::-1], starts[:0:-1], strict=False):
        weighted = weights[start:end] * sums[start:end]
        factors.multiply_back(weighted, sums[before : before + end - start])
    return sums


def _is_compiled(factors: Transitions, layout: StepMajor) -> bool:
    n_products = len(layout.rows) * factors.outer.size
    is_small = n_products <= MAX_COMPILED * len(layout.sizes)
    return is_small and kernels.INSTRUCTIONS is not None


def _exp_gaps(gaps: np.ndarray) -> np.ndarray:
    # In place, as there may be many transitions.
    is_impossible = gaps == -np.inf
    np.exp(np.maximum(gaps, -MAX_GAP, out=gaps), out=gaps)
    np.copyto(gaps, 0.0, where=is_impossible)
    return gaps
