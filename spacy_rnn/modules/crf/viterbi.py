"""The best sequences of tags of linear chains. See chain.py for scores and layout."""

import torch

from ..backend import is_compiled
from ..step_major import StepMajor
from .compiled import to_arrays
from .transitions import MAX_SUMS, Transitions, split_after, split_before


def find_best(scores: torch.Tensor, transitions: Transitions, layout: StepMajor) -> torch.Tensor:
    """Find the sequence of tags with the highest score (Viterbi 1967).

    scores, transitions, layout: As in `crf.log_partition`. The scores must be finite or minus
        infinity, and something must be allowed.
    RETURNS (Tensor): Each token's tag. (N,)
    """
    steps = layout.get_steps()
    best = scores.detach().clone(memory_format=torch.contiguous_format)
    if is_compiled(scores):
        from ...kernels._kernels import find_best_tags

        return torch.from_numpy(find_best_tags(*to_arrays(steps, transitions), best.numpy()))
    before, lowest = 0, torch.finfo(best.dtype).min
    for start, end in steps:
        current = best[start:end]
        if start:
            transitions.add_best(best[before : before + end - start], current)
        # Only differences matter, and sums that grow lose precision.
        current -= current.amax(dim=1, keepdim=True).clamp(min=lowest)
        before = start
    tags = torch.empty(len(scores), dtype=torch.long, device=scores.device)
    all_tags = torch.arange(scores.shape[1], device=scores.device)
    after = slice(0, 0)
    for start, end in reversed(steps):
        current, n_after = best[start:end], after.stop - after.start
        current[:n_after] += transitions.get(all_tags, tags[after].unsqueeze(1), -torch.inf)
        torch.argmax(current, dim=1, out=tags[start:end])
        after = slice(start, end)
    return tags


def find_k_best(
    scores: torch.Tensor, transitions: Transitions, layout: StepMajor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the k sequences of tags with the highest scores, best first.

    scores, transitions, layout: As in `find_best`.
    k (int): How many.
    RETURNS (Tuple[Tensor, Tensor]): The tags (k, N), and the scores of the sequences, longest
        sequence first: minus infinity where there are not as many. (k, sequences)
    """
    steps = layout.get_steps()
    n_tokens, n_tags = scores.shape
    scores, transitions = scores.double(), transitions.map(torch.Tensor.double)
    best = scores.new_full((n_tokens, k, n_tags), -torch.inf)
    # Where in the row before, (k, n_tags), each comes from.
    origins = torch.zeros(n_tokens, k, n_tags, dtype=torch.long, device=scores.device)
    n_rows = max(1, MAX_SUMS // (transitions.outer.numel() * k))
    before = 0
    for start, end in steps:
        if start:
            # Chunks of rows, as each has many sums.
            for rows in torch.arange(end - start, device=scores.device).split(n_rows):
                step = _step_k_best(best[before + rows], transitions)
                best[start + rows], origins[start + rows] = step
            best[start:end] += scores[start:end].unsqueeze(1)
        else:
            best[:end, 0] = scores[:end]
        before = start
    n_sequences = steps[0][1] if steps else 0
    last = layout.mirror[:n_sequences]
    totals, places = best[last].flatten(1).topk(k, dim=1)
    tags = torch.empty(k, n_tokens, dtype=torch.long, device=scores.device)
    for start, end in reversed(steps):
        rows = torch.arange(end - start, device=scores.device).unsqueeze(1)
        # A sequence that ends here begins at the place found above, the others go on.
        current = places[: end - start]
        tags[:, start:end] = current.T % n_tags
        current[:] = origins[start:end].flatten(1)[rows, current]
    return tags, totals.T


def _step_k_best(
    before: torch.Tensor, transitions: Transitions
) -> tuple[torch.Tensor, torch.Tensor]:
    """From each tag's k best scores, (n, k, T), get the k best sums for each tag of the next token,
    without its own score, and where they come from. Both (n, k, T)
    """
    n_labels, (n, k, n_tags) = transitions.n_labels, before.shape
    after, origins = torch.empty_like(before), torch.empty_like(before, dtype=torch.long)
    # Views of both.
    to_tags, from_tags = (split_after(x.flatten(0, 1), n_labels) for x in (after, origins))
    outer, inner = split_before(before.flatten(0, 1), n_labels)
    # (n, k x tags before, tags after)
    options = (outer.unsqueeze(2) + transitions.outer).unflatten(0, (n, k)).flatten(1, 2)
    values, index = options.topk(k, dim=1)
    size = outer.shape[1]
    to_tags[0][:] = values.flatten(0, 1)
    from_tags[0][:] = (index // size * n_tags + 2 * n_labels + index % size).flatten(0, 1)
    # (n, k x I and B, I and L, labels)
    options = (inner.unsqueeze(1) + transitions.inner).transpose(1, 2)
    values, index = options.unflatten(0, (n, k)).flatten(1, 2).topk(k, dim=1)
    labels = torch.arange(n_labels, device=before.device)
    to_tags[1][:] = values.flatten(0, 1)
    from_tags[1][:] = (index // 2 * n_tags + index % 2 * n_labels + labels).flatten(0, 1)
    return after, origins
