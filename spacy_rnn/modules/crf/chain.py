"""Linear-chain conditional random fields (Lafferty et al. 2001, Lample et al. 2016) over ragged
batches: a sequence of tags has a score, the sum of a score for each token's tag and one for each
two tags that follow each other, and its probability is proportional to the score's exponential.

Tokens are in `StepMajor` order, so that all sequences take a step together. A score of minus
infinity rules a tag, or a transition, out. Illegal transitions have no scores: see `Transitions`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from ..backend import is_compiled
from ..step_major import StepMajor, Steps, find_previous
from .compiled import to_arrays
from .transitions import Transitions

# Worse than the best by this much, a tag or a transition is as good as impossible: larger
# differences are cut down to it, so that products of probabilities do not underflow.
MAX_GAP = 200.0
# With more multiplications than this in a time step, matrix products are faster than our kernels.
MAX_COMPILED = 500_000


def log_partition(
    scores: torch.Tensor, transitions: Transitions, layout: StepMajor
) -> torch.Tensor:
    """Add up the exponentials of the scores of all sequences of tags. Its gradients are the
    probabilities of tags, and the expected numbers of transitions.

    scores (Tensor): The scores of each token's tags. (N, T)
    transitions (Transitions): The scores of tags after others.
    layout (StepMajor): Where the sequences' tokens are.
    RETURNS (Tensor): The logarithm of the sum for each sequence, longest sequence first; minus
        infinity where all are ruled out. In double precision. (sequences,)
    """
    return _LogPartition.apply(scores, transitions.outer, transitions.inner, layout)


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scores: torch.Tensor,
        outer: torch.Tensor,
        inner: torch.Tensor,
        layout: StepMajor,
    ) -> torch.Tensor:
        chain = Chain.from_scores(scores, Transitions(outer, inner), layout)
        ctx.chain, ctx.dtypes = chain, (scores.dtype, outer.dtype, inner.dtype)
        # What is returned must not be held by the context, or neither is ever freed.
        return chain.log_sums.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        chain = ctx.chain
        weights = grads[0].double().index_select(0, chain.layout.rows).unsqueeze(1)
        # Where nothing is possible, nothing is defined: such sequences may have no gradient.
        is_used = weights != 0
        d_scores = torch.where(is_used, chain.get_marginals() * weights, 0.0)
        before = chain.forward_sums[find_previous(chain.steps)]
        after = torch.where(is_used, chain.get_steps_in() * weights, 0.0)[chain.steps[0][1] :]
        counts = chain.factors.count(before, after)
        gradients = zip((d_scores, counts.outer, counts.inner), ctx.dtypes, strict=True)
        return *(gradient.to(dtype) for gradient, dtype in gradients), None


def get_path_scores(
    scores: torch.Tensor, tags: torch.Tensor, transitions: Transitions, layout: StepMajor
) -> torch.Tensor:
    """Add up the scores of one sequence of tags for each sequence of tokens.

    scores (Tensor): The score of each token's tag. (N,)
    tags (Tensor): The tags. (N,)
    transitions, layout: As in `log_partition`.
    RETURNS (Tensor): The sums, longest sequence first; minus infinity where one is illegal. In
        double precision. (sequences,)
    """
    n_sequences = layout.sizes[0]
    steps = transitions.get(tags[find_previous(layout.get_steps())], tags[n_sequences:], -torch.inf)
    sums = scores.new_zeros(n_sequences, dtype=torch.double)
    sums = sums.index_add(0, layout.rows, scores.double())
    return sums.index_add(0, layout.rows[n_sequences:], steps.double())


@dataclass
class Chain:
    """The forward-backward algorithm (Rabiner 1989) on a batch, in double precision.

    layout (StepMajor): Where the sequences' tokens are.
    steps (List[Tuple[int, int]]): The first packed position of each time step, and the one after
        its last.
    weights (Tensor): The exponentials of the scores, each token's largest being 1. (N, T)
    factors (Transitions): The exponentials of the transitions.
    forward_sums (Tensor): The probabilities of each token's tags given the tokens so far. (N, T)
    scales (Tensor): The sums by which those were divided. (N,)
    log_sums (Tensor): As `log_partition` returns them. (sequences,)
    """

    layout: StepMajor
    steps: Steps
    weights: torch.Tensor
    factors: Transitions
    forward_sums: torch.Tensor
    scales: torch.Tensor
    log_sums: torch.Tensor
    _backward_sums: torch.Tensor | None = None

    @classmethod
    def from_scores(
        cls, scores: torch.Tensor, transitions: Transitions, layout: StepMajor
    ) -> "Chain":
        """Run the forward pass. The arguments are as in `log_partition`."""
        scores, transitions = scores.double(), transitions.map(torch.Tensor.double)
        best = scores.amax(dim=1, keepdim=True)
        gaps = scores - best.clamp(min=torch.finfo(best.dtype).min)
        weights = _exp_gaps(gaps)
        offset = torch.maximum(transitions.outer.amax(), transitions.inner.amax())
        factors = transitions.map(lambda values: _exp_gaps(values - offset))
        steps = layout.get_steps()
        sums, scales = _sum_forward(weights, factors, steps)
        n_sequences = steps[0][1] if steps else 0
        logs = (scales.log() + best).squeeze(1)
        logs[n_sequences:] += offset
        log_sums = logs.new_zeros(n_sequences).index_add_(0, layout.rows, logs)
        return cls(layout, steps, weights, factors, sums, scales.squeeze(1), log_sums)

    @property
    def backward_sums(self) -> torch.Tensor:
        """RETURNS (Tensor): What the tokens after each token contribute to its tags'
        probabilities: those are the products with `forward_sums`. (N, T)
        """
        if self._backward_sums is None:
            weights = self.weights * self._get_inverse_scales()
            self._backward_sums = _sum_backward(weights, self.factors, self.steps)
        return self._backward_sums

    def get_marginals(self) -> torch.Tensor:
        """RETURNS (Tensor): The probability of each token's tags. (N, T)"""
        return self.forward_sums * self.backward_sums

    def get_steps_in(self) -> torch.Tensor:
        """RETURNS (Tensor): Times the forward sum of the tag before and the transition's factor,
        the probability of coming from there to each tag. (N, T)
        """
        return self.weights * self.backward_sums * self._get_inverse_scales()

    def get_step(
        self, factors: torch.Tensor, positions: torch.Tensor, tags: torch.Tensor
    ) -> torch.Tensor:
        """Get what a token's tag multiplies a forward sum of the token before by.

        factors (Tensor): The factors of the transitions. (M,)
        positions (Tensor): The packed positions of the tokens. (M,)
        tags (Tensor): Their tags. (M,)
        RETURNS (Tensor): The factors: times `backward_sums`, sums are the probabilities of those
            tags in a row. (M,)
        """
        return factors * self.weights[positions, tags] * _invert(self.scales[positions])

    def get_span_log_probs(
        self, positions: torch.Tensor, tags: torch.Tensor, spans: torch.Tensor, n_spans: int
    ) -> torch.Tensor:
        """Get the probabilities that several tokens in a row have the tags of a span.

        positions (Tensor): The packed positions of the tokens, span by span. (M,)
        tags (Tensor): Their tags. (M,)
        spans (Tensor): The number of the span that each of them is in, rising. (M,)
        n_spans (int): The number of spans.
        RETURNS (Tensor): The logarithms of the probabilities. (n_spans,)
        """
        is_first = torch.ones_like(spans, dtype=torch.bool)
        is_first[1:] = spans[1:] != spans[:-1]
        is_last = is_first.roll(-1)
        factors = self.get_step(self.factors.get_inner(tags.roll(1), tags), positions, tags)
        factors = torch.where(is_first, self.forward_sums[positions, tags], factors)
        factors = torch.where(is_last, self.backward_sums[positions, tags] * factors, factors)
        return factors.new_zeros(n_spans).index_add_(0, spans, factors.log())

    def _get_inverse_scales(self) -> torch.Tensor:
        return _invert(self.scales).unsqueeze(1)


def _invert(scales: torch.Tensor) -> torch.Tensor:
    return scales.clamp(min=torch.finfo(scales.dtype).tiny).reciprocal()


def _sum_forward(
    weights: torch.Tensor, factors: Transitions, steps: Steps
) -> tuple[torch.Tensor, torch.Tensor]:
    sums = weights.clone(memory_format=torch.contiguous_format)
    if _is_compiled(weights, factors, steps):
        from ...kernels._kernels import sum_forward

        scales = torch.from_numpy(sum_forward(*to_arrays(steps, factors), sums.numpy()))
        return sums, scales.unsqueeze(1)
    scales = sums.new_empty(len(sums), 1)
    tiny = torch.finfo(sums.dtype).tiny
    before = 0
    for start, end in steps:
        current, scale = sums[start:end], scales[start:end]
        if start:
            factors.multiply(sums[before : before + end - start], current)
        torch.sum(current, dim=1, keepdim=True, out=scale)
        current.div_(scale.clamp(min=tiny))
        before = start
    return sums, scales


def _sum_backward(weights: torch.Tensor, factors: Transitions, steps: Steps) -> torch.Tensor:
    sums = torch.ones_like(weights, memory_format=torch.contiguous_format)
    if _is_compiled(weights, factors, steps):
        from ...kernels._kernels import sum_backward

        transposed = Transitions(factors.outer.T, factors.inner)
        sum_backward(*to_arrays(steps, transposed), weights.contiguous().numpy(), sums.numpy())
        return sums
    for i in range(len(steps) - 1, 0, -1):
        (start, end), before = steps[i], steps[i - 1][0]
        weighted = weights[start:end] * sums[start:end]
        factors.multiply_back(weighted, sums[before : before + end - start])
    return sums


def _is_compiled(weights: torch.Tensor, factors: Transitions, steps: Steps) -> bool:
    n_products = len(weights) * factors.outer.numel()
    return n_products <= MAX_COMPILED * len(steps) and is_compiled(weights, dtype=torch.float64)


def _exp_gaps(gaps: torch.Tensor) -> torch.Tensor:
    # In place, as there may be many transitions.
    return gaps.clamp(min=-MAX_GAP).exp_().masked_fill_(gaps == -torch.inf, 0.0)
