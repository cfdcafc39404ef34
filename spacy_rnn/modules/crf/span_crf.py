"""The probabilities of labelled spans, given scores for tags."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..step_major import StepMajor
from .chain import Backprop, Chain, get_path_scores, log_partition
from .span_search import ProbableSpan, choose_disjoint, find_probable
from .tagging_scheme import BEGIN, INSIDE, LAST, TaggingScheme
from .transitions import Transitions
from .viterbi import find_best, find_k_best

MIN_IMPROBABILITY = 1e-12

# A sequence's number, and the start, end (exclusive) and label of a span of its tokens.
SequenceSpan = tuple[int, int, int, int]


class Gradient(NamedTuple):
    """The gradients of the scores of a `SpanCRF`, which has the same names and shapes."""

    emissions: np.ndarray
    transitions: Transitions
    start: np.ndarray
    end: np.ndarray

    def add(self, other: "Gradient") -> "Gradient":
        """RETURNS (Gradient): The sum of both."""
        transitions = self.transitions.add(other.transitions)
        start, end = self.start + other.start, self.end + other.end
        return Gradient(self.emissions + other.emissions, transitions, start, end)


# From the gradient of the losses to the gradient of the scores.
LossBackprop = Callable[[np.ndarray], Gradient]


class SpanCRF:
    """A batch of sequences, scored. What is allowed is given to each method: a row for each token
    of the flat batch, a column for each tag of the scheme.

    scheme (TaggingScheme): The tags.
    emissions (ndarray): The scores of the learned tags of all tokens, sequence by sequence.
        (N, n_learned)
    transitions (Transitions): The scores of tags after others.
    start, end (ndarray): The scores of the first and the last tag. (n_learned,)
    lengths (Sequence[int]): The number of tokens of each sequence; N together.
    """

    def __init__(
        self,
        scheme: TaggingScheme,
        emissions: np.ndarray,
        transitions: Transitions,
        start: np.ndarray,
        end: np.ndarray,
        lengths: Sequence[int],
    ):
        self.scheme = scheme
        self.lengths = list(lengths)
        self._emissions = emissions
        self._transitions = transitions
        self._others = (transitions, start, end)
        self.layout = StepMajor.from_lengths(self.lengths)
        self._starts = np.cumsum([0, *self.lengths[:-1]]).tolist()
        n_sequences, learned = len(self.layout.ranking), scheme.get_learned()
        self._lasts = self.layout.mirror[:n_sequences]
        self._scores = emissions.take(learned, axis=1).take(self.layout.order, axis=0)
        self._scores[:n_sequences] += start[learned]
        self._scores[self._lasts] += end[learned]

    def get_losses(
        self, allowed: np.ndarray, agreeing: np.ndarray
    ) -> tuple[np.ndarray, LossBackprop]:
        """Get the negative logarithm of the probability of what agrees with the annotation.

        allowed (ndarray): The tags among which the model may choose. (N, n_tags)
        agreeing (ndarray): The tags that agree with the annotation. (N, n_tags)
        RETURNS (Tuple[ndarray, Callable]): The losses of the sequences, longest first: infinite
            where no sequence of tags agrees. (sequences that are not empty,) And a callback from
            their gradient, zero where they are infinite, to that of the scores.
        """
        everything, backprop_everything = self._log_partition(allowed)
        agreed, backprop_agreed = self._log_partition(allowed & agreeing)

        def backprop(d_losses: np.ndarray) -> Gradient:
            d_scores, d_transitions = backprop_everything(d_losses)
            d_agreed, d_agreed_transitions = backprop_agreed(-d_losses)
            d_scores += d_agreed
            return self._get_gradient(d_scores, d_transitions.add(d_agreed_transitions))

        return everything - agreed, backprop

    def get_token_losses(self, agreeing: np.ndarray) -> tuple[np.ndarray, LossBackprop]:
        """Get the negative logarithm of the probability of what agrees with the annotation, for
        each token by itself, whatever is before and after.

        agreeing (ndarray): As in `get_losses`.
        RETURNS (Tuple[ndarray, Callable]): The losses, (N,), and a callback as in `get_losses`.
        """
        agreed = np.where(self.scheme.add_learned(agreeing), self._emissions, -np.inf)
        (sums, probs), (agreed_sums, agreed_probs) = map(_softmax, (self._emissions, agreed))

        def backprop(d_losses: np.ndarray) -> Gradient:
            d_emissions = (probs - agreed_probs) * d_losses[:, None]
            start, end = (np.zeros(self.scheme.n_learned) for _ in range(2))
            return Gradient(d_emissions, self._transitions.map(np.zeros_like), start, end)

        return sums - agreed_sums, backprop

    def get_span_losses(
        self, allowed: np.ndarray, spans: Sequence[SequenceSpan]
    ) -> tuple[np.ndarray, LossBackprop]:
        """Get the negative logarithm of the probability that a span is not there.

        allowed (ndarray): As in `get_losses`.
        spans (Sequence[SequenceSpan]): Spans that are wrong.
        RETURNS (Tuple[ndarray, Callable]): The losses, (spans,), and a callback as in `get_losses`.
        """
        # Each span gets a copy of its sequence in which it is the only choice.
        copies, index = self._select([span[0] for span in spans])
        forced = allowed.take(index, axis=0)
        for first, (_, start, end, label) in zip(copies._starts, spans, strict=True):
            forced[first + start : first + end] &= self._get_only(label, end - start)
        everything, backprop_everything = self._log_partition(allowed)
        with_span, backprop_with_span = copies._log_partition(forced)
        order = copies.layout.ranking
        firsts = np.array([self._starts[span[0]] for span in spans])[order]
        ranks = self.layout.rows[self.layout.inverse[firsts]]
        # Near 1 the probability loses precision, so we clamp its value but not its gradient.
        gap = np.minimum(with_span - everything[ranks], -MIN_IMPROBABILITY)
        improbability = -np.expm1(gap)
        losses = np.empty(len(spans))
        losses[order] = -np.log(improbability)

        def backprop(d_losses: np.ndarray) -> Gradient:
            d_gap = d_losses[order] * np.exp(gap) / improbability
            d_everything = np.bincount(ranks, weights=-d_gap, minlength=len(everything))
            gradient = self._get_gradient(*backprop_everything(d_everything))
            of_copies = copies._get_gradient(*backprop_with_span(d_gap))
            emissions = np.zeros_like(gradient.emissions)
            np.add.at(emissions, index, of_copies.emissions)
            return gradient.add(of_copies._replace(emissions=emissions))

        return losses, backprop

    def find_best(self, allowed: np.ndarray) -> list[list[int]]:
        """Find each sequence's best tags.

        allowed (ndarray): The tags to choose among. Something must be possible. (N, n_tags)
        RETURNS (List[List[int]]): The tags.
        """
        tags = find_best(self._restrict(allowed), self._transitions, self.layout)
        return self._split(tags)

    def find_k_best(
        self, allowed: np.ndarray, k: int, temperature: float = 1.0
    ) -> list[list[tuple[float, list[int]]]]:
        """Find each sequence's most probable tags.

        allowed (ndarray): The tags to choose among. Something must be possible. (N, n_tags)
        k (int): The number of readings.
        temperature (float): As in `get_span_probs`.
        RETURNS (List[List[Tuple[float, List[int]]]]): For each sequence the probability and the
            tags of at most k readings, best first. An empty sequence has one, that is certain.
        """
        scores = self._restrict(allowed)
        tags, totals = find_k_best(scores, self._transitions, self.layout, k)
        log_sums = self._make_chain(scores, temperature).log_sums
        probs = np.minimum(np.exp(totals / temperature - log_sums), 1.0).T.tolist()
        by_reading = [self._split(reading) for reading in tags]
        result: list[list[tuple[float, list[int]]]] = [[(1.0, [])] for _ in self.lengths]
        for rank, number in enumerate(self.layout.ranking.tolist()):
            readings = zip(probs[rank], (tags[number] for tags in by_reading), strict=True)
            result[number] = [(prob, list(reading)) for prob, reading in readings if prob > 0]
        return result

    def get_span_probs(
        self, allowed: np.ndarray, spans: Sequence[SequenceSpan], temperature: float = 1.0
    ) -> list[float]:
        """Get the probability that a span is there, exactly as it is: the sum over all sequences
        of tags that have it.

        allowed (ndarray): The tags to choose among. (N, n_tags)
        spans (Sequence[SequenceSpan]): The spans.
        temperature (float): What to divide all scores by (Guo et al. 2017, "On Calibration of
            Modern Neural Networks").
        RETURNS (List[float]): Their probabilities.
        """
        if not spans:
            return []
        # Most sequences have none.
        numbers = sorted({span[0] for span in spans})
        some, chain = self._chain_some(numbers, allowed, temperature)
        starts = dict(zip(numbers, some._starts, strict=True))
        positions: list[int] = []
        tags: list[int] = []
        paths: list[int] = []
        for i, (number, start, end, label) in enumerate(spans):
            positions.extend(range(starts[number] + start, starts[number] + end))
            tags.extend(self.scheme.get_span_tags(label, end - start))
            paths.extend([i] * (end - start))
        packed = some.layout.inverse[positions]
        log_probs = chain.get_span_log_probs(packed, np.array(tags), np.array(paths), len(spans))
        return np.minimum(np.exp(log_probs), 1.0).tolist()

    def find_probable_spans(
        self, allowed: np.ndarray, threshold: float, temperature: float = 1.0
    ) -> list[list[ProbableSpan]]:
        """Find spans that are at least as probable as a threshold. Where some overlap, choose the
        combination whose probabilities exceed the threshold by the largest sum. No other choice has
        a higher expected number of right spans, less the threshold for each chosen span (Goodman
        1996, "Parsing Algorithms and Metrics").

        allowed (ndarray): As in `find_best`. (N, n_tags)
        threshold (float): The threshold, above 0.
        temperature (float): As in `get_span_probs`.
        RETURNS (List[List[Tuple[int, int, int, float]]]): Start, end (exclusive), label and
            probability of each sequence's spans, in order.
        """
        spans: list[list[ProbableSpan]] = [[] for _ in self.lengths]
        scores = self._restrict(allowed)
        chain = self._make_chain(scores, temperature)
        # No span is more probable than that there is one, and in most sequences that is not.
        log_empty = self._score_empty(scores, temperature) - chain.log_sums
        is_probable = -np.expm1(log_empty) >= threshold
        numbers = sorted(self.layout.ranking[is_probable].tolist())
        if not numbers:
            return spans
        # The sums of all of them are there already.
        some = self
        if len(numbers) < len(self.lengths):
            some, chain = self._chain_some(numbers, allowed, temperature)
        positions, *found = find_probable(chain, self.scheme, threshold)
        ranks = some.layout.rows[positions]
        sequences = some.layout.ranking[ranks].tolist()
        places = some.layout.order[positions].tolist()
        for sequence, place, length, label, prob in zip(
            sequences, places, *(values.tolist() for values in found), strict=True
        ):
            start = place - some._starts[sequence]
            spans[numbers[sequence]].append((start, start + length, label, prob))
        return [choose_disjoint(of_sequence, threshold) for of_sequence in spans]

    def _make_chain(self, scores: np.ndarray, temperature: float) -> Chain:
        scores = np.divide(scores, temperature, dtype=np.float64)
        transitions = self._transitions.map(lambda x: np.divide(x, temperature, dtype=np.float64))
        return Chain.from_scores(scores, transitions, self.layout)

    def _chain_some(
        self, numbers: Sequence[int], allowed: np.ndarray, temperature: float
    ) -> tuple["SpanCRF", Chain]:
        some, index = self._select(numbers)
        scores = some._restrict(allowed.take(index, axis=0))
        return some, some._make_chain(scores, temperature)

    def _score_empty(self, scores: np.ndarray, temperature: float) -> np.ndarray:
        """Score the sequences of tags without spans, longest sequence first."""
        n_sequences = len(self.layout.ranking)
        outside = scores[:, self.scheme.outside].astype(np.float64)
        outside[n_sequences:] += self._transitions.outer[0, self.scheme.n_labels]
        return np.bincount(self.layout.rows, weights=outside, minlength=n_sequences) / temperature

    def _select(self, numbers: Sequence[int]) -> tuple["SpanCRF", np.ndarray]:
        """Make a batch of some sequences, none empty, which may repeat. Also return the places of
        its tokens in this batch.
        """
        starts, lengths = (
            [of[number] for number in numbers] for of in (self._starts, self.lengths)
        )
        index = np.concatenate([np.arange(i, i + n) for i, n in zip(starts, lengths, strict=True)])
        emissions = self._emissions.take(index, axis=0)
        return SpanCRF(self.scheme, emissions, *self._others, lengths), index

    def _restrict(self, allowed: np.ndarray) -> np.ndarray:
        is_allowed = allowed.take(self.layout.order, axis=0)
        # A sequence neither starts within a span nor ends there.
        is_allowed[: len(self._lasts)] &= ~self.scheme.get_parts(INSIDE, LAST)
        is_allowed[self._lasts] &= ~self.scheme.get_parts(BEGIN, INSIDE)
        return np.where(is_allowed, self._scores, -np.inf)

    def _log_partition(self, allowed: np.ndarray) -> tuple[np.ndarray, Backprop]:
        scores = self._restrict(allowed)
        if (allowed.sum(axis=1) <= 1).all():
            # One sequence of tags is left, so that there is nothing to add up.
            tags = scores.argmax(axis=1)
            return get_path_scores(scores, tags, self._transitions, self.layout)
        return log_partition(scores, self._transitions, self.layout)

    def _get_gradient(self, d_scores: np.ndarray, d_transitions: Transitions) -> Gradient:
        d_learned = self.scheme.add_learned(d_scores)
        start = d_learned[: len(self._lasts)].sum(axis=0)
        end = d_learned[self._lasts].sum(axis=0)
        return Gradient(d_learned.take(self.layout.inverse, axis=0), d_transitions, start, end)

    def _get_only(self, label: int, length: int) -> np.ndarray:
        only = np.zeros((length, self.scheme.n_tags), dtype=bool)
        only[range(length), self.scheme.get_span_tags(label, length)] = True
        return only

    def _split(self, tags: np.ndarray) -> list[list[int]]:
        flat = tags[self.layout.inverse].tolist()
        return [
            flat[start : start + length]
            for start, length in zip(self._starts, self.lengths, strict=True)
        ]


def _softmax(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logarithm of the sum of the exponentials of each row, and what each contributes."""
    best = scores.max(axis=1, keepdims=True)
    probs = np.exp(scores - best)
    sums = probs.sum(axis=1, keepdims=True)
    probs /= sums
    return (np.log(sums) + best)[:, 0], probs
