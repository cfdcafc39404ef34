"""The probabilities of labelled spans, given scores for tags."""

from collections.abc import Sequence

import torch

from ..step_major import StepMajor
from .chain import Chain, get_path_scores, log_partition
from .span_search import ProbableSpan, choose_disjoint, find_probable
from .tagging_scheme import BEGIN, INSIDE, LAST, TaggingScheme
from .transitions import Transitions
from .viterbi import find_best, find_k_best

MIN_IMPROBABILITY = 1e-12

# A sequence's number, and the start, end (exclusive) and label of a span of its tokens.
SequenceSpan = tuple[int, int, int, int]


class SpanCRF:
    """A batch of sequences, scored. What is allowed is given to each method: a row for each token
    of the flat batch, a column for each tag of the scheme.

    scheme (TaggingScheme): The tags.
    emissions (Tensor): The scores of the learned tags of all tokens, sequence by sequence.
        (N, n_learned)
    transitions (Transitions): The scores of tags after others.
    start, end (Tensor): The scores of the first and the last tag. (n_learned,)
    lengths (Sequence[int]): The number of tokens of each sequence; N together.
    """

    def __init__(
        self,
        scheme: TaggingScheme,
        emissions: torch.Tensor,
        transitions: Transitions,
        start: torch.Tensor,
        end: torch.Tensor,
        lengths: Sequence[int],
    ):
        self.scheme = scheme
        self.lengths = list(lengths)
        self._emissions = emissions
        self._others = (transitions, start, end)
        self._transitions = transitions
        device = emissions.device
        self.layout = StepMajor.from_lengths(self.lengths, device)
        self._starts = torch.tensor([0, *self.lengths[:-1]]).cumsum(0).tolist()
        learned = scheme.get_learned().to(device)
        scores = emissions.index_select(1, learned).index_select(0, self.layout.order)
        firsts = torch.arange(len(self.layout.ranking), device=device)
        scores = scores.index_add(0, firsts, start[learned].expand(len(firsts), -1))
        lasts = self.layout.mirror[: len(firsts)]
        self._scores = scores.index_add(0, lasts, end[learned].expand(len(firsts), -1))

    def get_losses(self, allowed: torch.Tensor, agreeing: torch.Tensor) -> torch.Tensor:
        """Get the negative logarithm of the probability of what agrees with the annotation.

        allowed (Tensor): The tags among which the model may choose. (N, n_tags)
        agreeing (Tensor): Those that agree with what is annotated. (N, n_tags)
        RETURNS (Tensor): The losses of the sequences, longest first: infinite where no sequence
            of tags agrees. (sequences that are not empty,)
        """
        everything, agreed = self._log_partition(allowed), allowed & agreeing
        if (agreed.sum(dim=1) <= 1).all():
            # One sequence of tags is left, so that there is nothing to add up.
            scores, tags = self._restrict(agreed).max(dim=1)
            return everything - get_path_scores(scores, tags, self._transitions, self.layout)
        return everything - self._log_partition(agreed)

    def get_token_losses(self, agreeing: torch.Tensor) -> torch.Tensor:
        """Get the negative logarithm of the probability of what agrees with the annotation, for
        each token by itself, whatever is before and after.

        agreeing (Tensor): As in `get_losses`.
        RETURNS (Tensor): The losses. (N,)
        """
        emissions = self._emissions
        learned = self.scheme.get_learned().to(agreeing.device)
        counts = torch.zeros_like(emissions).index_add(1, learned, agreeing.to(emissions.dtype))
        agreed = emissions.masked_fill(counts == 0, -torch.inf)
        return emissions.logsumexp(dim=1) - agreed.logsumexp(dim=1)

    def get_span_losses(self, allowed: torch.Tensor, spans: Sequence[SequenceSpan]) -> torch.Tensor:
        """Get the negative logarithm of the probability that a span is not there.

        allowed (Tensor): As in `get_losses`.
        spans (Sequence[SequenceSpan]): Spans that are wrong.
        RETURNS (Tensor): The losses. (spans,)
        """
        # Each span gets a copy of its sequence in which it is the only choice.
        copies, index = self._select([span[0] for span in spans])
        forced = allowed.index_select(0, index)
        for first, (_, start, end, label) in zip(copies._starts, spans, strict=True):
            only = self._get_only(label, end - start).to(forced.device)
            forced[first + start : first + end] &= only
        rank = torch.empty(len(self.lengths), dtype=torch.long, device=index.device)
        rank[self.layout.ranking] = torch.arange(len(self.layout.ranking), device=index.device)
        numbers = torch.tensor([span[0] for span in spans], device=index.device)
        everything = self._log_partition(allowed)[rank[numbers]]
        with_span = everything.new_empty(len(spans)).index_copy(
            0, copies.layout.ranking, copies._log_partition(forced)
        )
        # Near one, the precision of the probability ends: its value is bounded there, but not its
        # gradient.
        gap = with_span - everything
        gap = gap - (gap + MIN_IMPROBABILITY).clamp(min=0).detach()
        return -torch.log(-torch.expm1(gap))

    def find_best(self, allowed: torch.Tensor) -> list[list[int]]:
        """Find each sequence's best tags.

        allowed (Tensor): The tags to choose among. Something must be possible. (N, n_tags)
        RETURNS (List[List[int]]): The tags.
        """
        tags = find_best(self._restrict(allowed), self._transitions, self.layout)
        return self._split(tags)

    def find_k_best(
        self, allowed: torch.Tensor, k: int, temperature: float = 1.0
    ) -> list[list[tuple[float, list[int]]]]:
        """Find each sequence's most probable tags.

        allowed (Tensor): The tags to choose among. Something must be possible. (N, n_tags)
        k (int): The number of readings.
        temperature (float): As in `get_span_probs`.
        RETURNS (List[List[Tuple[float, List[int]]]]): For each sequence the probability and the
            tags of at most k readings, best first. An empty sequence has one, that is certain.
        """
        scores = self._restrict(allowed)
        tags, totals = find_k_best(scores, self._transitions, self.layout, k)
        log_sums = self._make_chain(scores, temperature).log_sums
        probs = (totals / temperature - log_sums).exp().clamp(max=1.0).T.tolist()
        by_reading = [self._split(reading) for reading in tags]
        result: list[list[tuple[float, list[int]]]] = [[(1.0, [])] for _ in self.lengths]
        for rank, number in enumerate(self.layout.ranking.tolist()):
            readings = zip(probs[rank], (tags[number] for tags in by_reading), strict=True)
            result[number] = [(prob, list(reading)) for prob, reading in readings if prob > 0]
        return result

    def get_span_probs(
        self, allowed: torch.Tensor, spans: Sequence[SequenceSpan], temperature: float = 1.0
    ) -> list[float]:
        """Get the probability that a span is there, exactly as it is: the sum over all sequences
        of tags that have it.

        allowed (Tensor): The tags to choose among. (N, n_tags)
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
        device = allowed.device
        arrays = [torch.tensor(values, device=device) for values in (positions, tags, paths)]
        arrays[0] = some.layout.inverse[arrays[0]]
        log_probs = chain.get_span_log_probs(arrays[0], arrays[1], arrays[2], len(spans))
        return log_probs.exp().clamp(max=1.0).tolist()

    def find_probable_spans(
        self, allowed: torch.Tensor, threshold: float, temperature: float = 1.0
    ) -> list[list[ProbableSpan]]:
        """Find all spans that are at least as probable as a threshold, but for those that overlap
        with others: of all ways to choose, that whose probabilities exceed the threshold by most,
        added up. No other choice has a higher expected number of right spans, less the threshold
        for each that is chosen (Goodman 1996, "Parsing Algorithms and Metrics").

        allowed (Tensor): As in `find_best`. (N, n_tags)
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
        is_probable = -log_empty.expm1() >= threshold
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

    def _make_chain(self, scores: torch.Tensor, temperature: float) -> Chain:
        transitions = self._transitions.map(lambda values: values.double() / temperature)
        return Chain.from_scores(scores.double() / temperature, transitions, self.layout)

    def _chain_some(
        self, numbers: Sequence[int], allowed: torch.Tensor, temperature: float
    ) -> tuple["SpanCRF", Chain]:
        some, index = self._select(numbers)
        scores = some._restrict(allowed.index_select(0, index))
        return some, some._make_chain(scores, temperature)

    def _score_empty(self, scores: torch.Tensor, temperature: float) -> torch.Tensor:
        """Score the sequences of tags without spans, longest sequence first."""
        outside = scores[:, self.scheme.outside].double()
        outside[len(self.layout.ranking) :] += self._transitions.outer[0, self.scheme.n_labels]
        sums = outside.new_zeros(len(self.layout.ranking))
        return sums.index_add_(0, self.layout.rows, outside) / temperature

    def _select(self, numbers: Sequence[int]) -> tuple["SpanCRF", torch.Tensor]:
        """Make a batch of some of the sequences, not empty, which may repeat. Returned with it are
        its tokens' places in this batch.
        """
        places = [
            torch.arange(self._starts[number], self._starts[number] + self.lengths[number])
            for number in numbers
        ]
        index = torch.cat(places).to(self._emissions.device)
        lengths = [self.lengths[number] for number in numbers]
        emissions = self._emissions.index_select(0, index)
        return SpanCRF(self.scheme, emissions, *self._others, lengths), index

    def _restrict(self, allowed: torch.Tensor) -> torch.Tensor:
        ruled_out = ~allowed.index_select(0, self.layout.order)
        # A sequence neither starts within a span nor ends there.
        n_sequences = len(self.layout.ranking)
        ruled_out[:n_sequences] |= self.scheme.get_parts(INSIDE, LAST).to(allowed.device)
        lasts = self.layout.mirror[:n_sequences]
        ruled_out[lasts] |= self.scheme.get_parts(BEGIN, INSIDE).to(allowed.device)
        return self._scores.masked_fill(ruled_out, -torch.inf)

    def _log_partition(self, allowed: torch.Tensor) -> torch.Tensor:
        return log_partition(self._restrict(allowed), self._transitions, self.layout)

    def _get_only(self, label: int, length: int) -> torch.Tensor:
        only = torch.zeros(length, self.scheme.n_tags, dtype=torch.bool)
        only[range(length), self.scheme.get_span_tags(label, length)] = True
        return only

    def _split(self, tags: torch.Tensor) -> list[list[int]]:
        flat = tags.index_select(0, self.layout.inverse).tolist()
        return [
            flat[start : start + length]
            for start, length in zip(self._starts, self.lengths, strict=True)
        ]
