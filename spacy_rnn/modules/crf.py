"""Linear-chain conditional random fields (Lafferty et al. 2001, Lample et al. 2016) over ragged
batches: a sequence of tags has a score, the sum of a score for each token's tag and one for each
two tags that follow each other, and its probability is proportional to the score's exponential.

Tokens are in `StepMajor` order, so that all sequences take a step together. A score of minus
infinity rules a tag, or a transition, out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from .batching import StepMajor
from .compiled import can_chain
from .time_steps import Steps, find_previous

Group = tuple[torch.Tensor, torch.Tensor]

# Worse than the best by this much, a tag or a transition is as good as impossible: larger
# differences are cut down to it, so that products of probabilities do not underflow.
MAX_GAP = 200.0
# With more sequences than this in a time step, products of matrices are faster than one by one.
MAX_CHAINS = 16
# For fewer sums than this in a time step, it is faster to take all transitions at once.
MIN_GROUPED = 30_000


def log_partition(
    scores: torch.Tensor, transitions: torch.Tensor, layout: StepMajor
) -> torch.Tensor:
    """Add up the exponentials of the scores of all sequences of tags. Its gradients are the
    probabilities of tags, and the expected numbers of transitions.

    scores (Tensor): The scores of each token's tags. (N, T)
    transitions (Tensor): The scores of a tag (column) after another (row). (T, T)
    layout (StepMajor): Where the sequences' tokens are.
    RETURNS (Tensor): The logarithm of the sum for each sequence, longest sequence first; minus
        infinity where all are ruled out. In double precision. (sequences,)
    """
    return _LogPartition.apply(scores, transitions, layout)


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: torch.Tensor, transitions: torch.Tensor, layout: StepMajor
    ) -> torch.Tensor:
        chain = Chain.from_scores(scores, transitions, layout)
        ctx.chain, ctx.dtypes = chain, (scores.dtype, transitions.dtype)
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
        d_transitions = (before.T @ after) * chain.factors
        return d_scores.to(ctx.dtypes[0]), d_transitions.to(ctx.dtypes[1]), None


@dataclass
class Chain:
    """The forward-backward algorithm (Rabiner 1989) on a batch, in double precision.

    layout (StepMajor): Where the sequences' tokens are.
    steps (List[Tuple[int, int]]): The first packed position of each time step, and the one after
        its last.
    weights (Tensor): The exponentials of the scores, each token's largest being 1. (N, T)
    factors (Tensor): The exponentials of the transitions. (T, T)
    forward_sums (Tensor): The probabilities of each token's tags given the tokens so far. (N, T)
    scales (Tensor): The sums by which those were divided. (N,)
    log_sums (Tensor): As `log_partition` returns them. (sequences,)
    """

    layout: StepMajor
    steps: Steps
    weights: torch.Tensor
    factors: torch.Tensor
    forward_sums: torch.Tensor
    scales: torch.Tensor
    log_sums: torch.Tensor
    _backward_sums: torch.Tensor | None = None

    @classmethod
    def from_scores(
        cls, scores: torch.Tensor, transitions: torch.Tensor, layout: StepMajor
    ) -> "Chain":
        """Run the forward pass. The arguments are those of `log_partition`."""
        scores, transitions = scores.double(), transitions.double()
        best = scores.amax(dim=1, keepdim=True)
        gaps = scores - best.clamp(min=torch.finfo(best.dtype).min)
        weights = _exp_gaps(gaps)
        offset = transitions.amax()
        factors = _exp_gaps(transitions - offset)
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
        self, before: torch.Tensor, positions: torch.Tensor, tags: torch.Tensor
    ) -> torch.Tensor:
        """Get what a token's tag multiplies a forward sum of the token before by.

        before (Tensor): The tags of the tokens before. (M,)
        positions (Tensor): The packed positions of the tokens. (M,)
        tags (Tensor): Their tags. (M,)
        RETURNS (Tensor): The factors: times `backward_sums`, sums are the probabilities of those
            tags in a row. (M,)
        """
        scales = _invert(self.scales[positions])
        return self.factors[before, tags] * self.weights[positions, tags] * scales

    def get_path_log_probs(
        self, positions: torch.Tensor, tags: torch.Tensor, paths: torch.Tensor, n_paths: int
    ) -> torch.Tensor:
        """Get the probabilities that several tokens in a row have certain tags.

        positions (Tensor): The packed positions of the tokens, path by path. (M,)
        tags (Tensor): Their tags. (M,)
        paths (Tensor): The number of the path that each of them is in, rising. (M,)
        n_paths (int): The number of paths.
        RETURNS (Tensor): The logarithms of the probabilities. (n_paths,)
        """
        is_first = torch.ones_like(paths, dtype=torch.bool)
        is_first[1:] = paths[1:] != paths[:-1]
        is_last = is_first.roll(-1)
        factors = self.get_step(tags.roll(1), positions, tags)
        factors = torch.where(is_first, self.forward_sums[positions, tags], factors)
        factors = torch.where(is_last, self.backward_sums[positions, tags] * factors, factors)
        return factors.new_zeros(n_paths).index_add_(0, paths, factors.log())

    def _get_inverse_scales(self) -> torch.Tensor:
        return _invert(self.scales).unsqueeze(1)


def _invert(scales: torch.Tensor) -> torch.Tensor:
    return scales.clamp(min=torch.finfo(scales.dtype).tiny).reciprocal()


def _sum_forward(
    weights: torch.Tensor, factors: torch.Tensor, steps: Steps
) -> tuple[torch.Tensor, torch.Tensor]:
    if _are_few(weights, steps):
        from .compiled import chains

        return chains.sum_forward(weights, factors, steps)
    sums = weights.clone()
    scales = sums.new_empty(len(sums), 1)
    tiny = torch.finfo(sums.dtype).tiny
    before = 0
    for start, end in steps:
        current, scale = sums[start:end], scales[start:end]
        if start:
            current.mul_(sums[before : before + end - start] @ factors)
        torch.sum(current, dim=1, keepdim=True, out=scale)
        current.div_(scale.clamp(min=tiny))
        before = start
    return sums, scales


def _are_few(weights: torch.Tensor, steps: Steps) -> bool:
    return len(weights) <= MAX_CHAINS * len(steps) and can_chain(weights, torch.float64)


def _sum_backward(weights: torch.Tensor, factors: torch.Tensor, steps: Steps) -> torch.Tensor:
    if _are_few(weights, steps):
        from .compiled import chains

        return chains.sum_backward(weights, factors, steps)
    sums = torch.ones_like(weights)
    back = factors.T.contiguous()
    for i in range(len(steps) - 1, 0, -1):
        (start, end), before = steps[i], steps[i - 1][0]
        weighted = weights[start:end] * sums[start:end]
        torch.mm(weighted, back, out=sums[before : before + end - start])
    return sums


def _exp_gaps(gaps: torch.Tensor) -> torch.Tensor:
    return torch.where(gaps > -torch.inf, gaps.clamp(min=-MAX_GAP).exp(), 0.0)


def find_best(
    scores: torch.Tensor,
    transitions: torch.Tensor,
    layout: StepMajor,
    groups: Sequence[Group] | None = None,
) -> torch.Tensor:
    """Find the sequence of tags with the highest score (Viterbi 1967).

    scores, transitions, layout: As in `log_partition`. The scores must be finite or minus
        infinity, and something must be allowed.
    groups (Optional[Sequence[Tuple[Tensor, Tensor]]]): The possible transitions, where that is
        faster than all of them: in each group some sets of tags, and as many sets of those that
        follow them, both (sets, tags). Each tag follows others in one group only.
    RETURNS (Tensor): Each token's tag. (N,)
    """
    steps = layout.get_steps()
    if can_chain(scores, torch.float32):
        from .compiled import chains

        return chains.find_best(scores, transitions, steps)
    best, lowest = scores.clone(), torch.finfo(scores.dtype).min
    parts = [_Reach(transitions, *group) for group in groups or []]
    before = 0
    for start, end in steps:
        current = best[start:end]
        if start:
            previous = best[before : before + end - start]
            if parts and previous.numel() * len(transitions) >= MIN_GROUPED:
                for part in parts:
                    part.add_to(current, previous)
            else:
                current += (previous.unsqueeze(2) + transitions).amax(dim=1)
        # Only differences matter, and sums that grow lose precision.
        current -= current.amax(dim=1, keepdim=True).clamp(min=lowest)
        before = start
    tags = torch.empty(len(scores), dtype=torch.long, device=scores.device)
    from_tag = transitions.T.contiguous()
    after = slice(0, 0)
    for start, end in reversed(steps):
        current, n_after = best[start:end], after.stop - after.start
        current[:n_after] += from_tag[tags[after]]
        torch.argmax(current, dim=1, out=tags[start:end])
        after = slice(start, end)
    return tags


class _Reach:
    """The transitions of a group."""

    def __init__(self, transitions: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor):
        self.shape = sources.shape
        self.sources, self.targets = sources.flatten(), targets.flatten()
        self.scores = transitions[sources.unsqueeze(2), targets.unsqueeze(1)]

    def add_to(self, current: torch.Tensor, previous: torch.Tensor) -> None:
        """Add the best way to get to each tag, (rows, tags), from the scores before it."""
        before = previous.index_select(1, self.sources).view(-1, *self.shape, 1)
        best = (before + self.scores).amax(dim=2).flatten(1)
        current.index_add_(1, self.targets, best)


def find_k_best(
    scores: torch.Tensor, transitions: torch.Tensor, layout: StepMajor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the k sequences of tags with the highest scores, best first.

    scores, transitions, layout: As in `find_best`.
    k (int): How many.
    RETURNS (Tuple[Tensor, Tensor]): The tags (k, N), and the scores of the sequences, longest
        sequence first: minus infinity where there are not as many. (k, sequences)
    """
    steps = layout.get_steps()
    n_tokens, n_tags = scores.shape
    scores, transitions = scores.double(), transitions.double()
    best = scores.new_full((n_tokens, n_tags, k), -torch.inf)
    # Which of the tags before, and which of its k sequences, each comes from.
    origins = torch.zeros(n_tokens, n_tags, k, dtype=torch.long, device=scores.device)
    before = 0
    for start, end in steps:
        if start:
            previous = best[before : before + end - start]
            options = previous.unsqueeze(1) + transitions.T.unsqueeze(2)
            values, origin = options.flatten(2).topk(k, dim=2)
            best[start:end] = values + scores[start:end].unsqueeze(2)
            origins[start:end] = origin
        else:
            best[:end, :, 0] = scores[:end]
        before = start
    n_sequences = steps[0][1] if steps else 0
    last = layout.mirror[:n_sequences]
    totals, places = best[last].flatten(1).topk(k, dim=1)
    tags = torch.empty(k, n_tokens, dtype=torch.long, device=scores.device)
    for start, end in reversed(steps):
        rows = torch.arange(end - start, device=scores.device).unsqueeze(1)
        # A sequence that ends here begins at the place found above, the others go on.
        current = places[: end - start]
        tags[:, start:end] = current.T // k
        current[:] = origins[start:end].flatten(1)[rows, current]
    return tags, totals.T
