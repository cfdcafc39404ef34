"""Viterbi's algorithm and the sums of linear chains, by the compiled kernels. Tokens are in
`StepMajor` order, and the arguments those of the functions in `modules.crf`.
"""

import numpy as np
import torch
from torch.nn import functional as F

from ..time_steps import Steps
from ._rnn import LANES, Chains


def find_best(scores: torch.Tensor, transitions: torch.Tensor, steps: Steps) -> torch.Tensor:
    """Find the sequences of tags with the highest scores.

    scores (Tensor): The scores of each token's tags. float32, (N, T)
    transitions (Tensor): The scores of a tag (column) after another (row). float32, (T, T)
    steps (List[Tuple[int, int]]): The time steps.
    RETURNS (Tensor): Each token's tag. (N,)
    """
    chains = _make_chains(steps, scores.shape[1])
    tags = chains.find_best(
        _fill(transitions, -torch.inf), _fill(transitions.T, -torch.inf), _fill(scores, -torch.inf)
    )
    return torch.from_numpy(tags)


def sum_forward(
    weights: torch.Tensor, factors: torch.Tensor, steps: Steps
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the forward algorithm.

    weights (Tensor): The weights of each token's tags. float64, (N, T)
    factors (Tensor): What a tag (column) after another (row) counts. float64, (T, T)
    steps (List[Tuple[int, int]]): The time steps.
    RETURNS (Tuple[Tensor, Tensor]): Each tag's share of all ways to the token, (N, T), and what
        those were divided by, (N, 1).
    """
    sums = _fill(weights, 0.0)
    scales = _make_chains(steps, weights.shape[1]).sum_forward(_fill(factors, 0.0), sums)
    return _cut(sums, weights), torch.from_numpy(scales).unsqueeze(1)


def sum_backward(weights: torch.Tensor, factors: torch.Tensor, steps: Steps) -> torch.Tensor:
    """Run the backward algorithm.

    weights (Tensor): The weights of each token's tags, divided by the scales. float64, (N, T)
    factors, steps: As in `sum_forward`.
    RETURNS (Tensor): What the tokens after each token contribute to each tag. (N, T)
    """
    filled = _fill(weights, 0.0)
    sums = np.empty_like(filled)
    _make_chains(steps, weights.shape[1]).sum_backward(_fill(factors.T, 0.0), filled, sums)
    return _cut(sums, weights)


def _make_chains(steps: Steps, n_tags: int) -> Chains:
    starts = np.array([0, *(end for _, end in steps)], dtype=np.int64)
    return Chains(starts, n_tags, n_tags + -n_tags % LANES)


def _fill(rows: torch.Tensor, value: float) -> np.ndarray:
    padding = -rows.shape[1] % LANES
    # A copy in any case: results are written over some of them.
    filled = F.pad(rows, (0, padding), value=value) if padding else rows.clone()
    return filled.detach().contiguous().numpy()


def _cut(rows: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(rows)[:, : like.shape[1]]
