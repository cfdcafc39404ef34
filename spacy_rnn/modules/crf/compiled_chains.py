"""Viterbi's algorithm and the sums of linear chains, by the compiled kernels. Tokens are in
`StepMajor` order, and the arguments those of the functions in `modules.crf` and
`modules.viterbi`.
"""

import numpy as np
import torch

from ...kernels._kernels import LANES, Chains
from ..step_major import Steps
from .transitions import Transitions


def find_best(scores: torch.Tensor, transitions: Transitions, steps: Steps) -> torch.Tensor:
    """Find the sequences of tags with the highest scores.

    scores (Tensor): The scores of each token's tags. float32, (N, T)
    transitions (Transitions): The scores of transitions. float32
    steps (List[Tuple[int, int]]): The time steps.
    RETURNS (Tensor): Each token's tag. (N,)
    """
    layout = _Layout(transitions.n_labels)
    outer = layout.fill_outer(transitions.outer, -torch.inf)
    turned = np.ascontiguousarray(outer.T)
    inner = layout.fill_inner(transitions.inner)
    rows = layout.fill_rows(scores, -torch.inf)
    return torch.from_numpy(layout.make_chains(steps).find_best(outer, turned, inner, rows))


def sum_forward(
    weights: torch.Tensor, factors: Transitions, steps: Steps
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the forward algorithm.

    weights (Tensor): The weights of each token's tags. float64, (N, T)
    factors (Transitions): What transitions count. float64
    steps (List[Tuple[int, int]]): The time steps.
    RETURNS (Tuple[Tensor, Tensor]): Each tag's share of all ways to the token, (N, T), and what
        those were divided by, (N, 1).
    """
    layout = _Layout(factors.n_labels)
    sums = layout.fill_rows(weights, 0.0)
    outer, inner = layout.fill_outer(factors.outer, 0.0), layout.fill_inner(factors.inner)
    scales = layout.make_chains(steps).sum_forward(outer, inner, sums)
    return layout.cut_rows(sums), torch.from_numpy(scales).unsqueeze(1)


def sum_backward(weights: torch.Tensor, factors: Transitions, steps: Steps) -> torch.Tensor:
    """Run the backward algorithm.

    weights (Tensor): The weights of each token's tags, divided by the scales. float64, (N, T)
    factors, steps: As in `sum_forward`.
    RETURNS (Tensor): What the tokens after each token contribute to each tag. (N, T)
    """
    layout = _Layout(factors.n_labels)
    filled = layout.fill_rows(weights, 0.0)
    sums = np.empty_like(filled)
    turned = np.ascontiguousarray(layout.fill_outer(factors.outer, 0.0).T)
    inner = layout.fill_inner(factors.inner)
    layout.make_chains(steps).sum_backward(turned, inner, filled, sums)
    return layout.cut_rows(sums)


class _Layout:
    """Tags filled up to whole vectors: there is padding between U and L.

    n_labels (int): The number of labels.
    """

    def __init__(self, n_labels: int):
        self.n_labels = n_labels
        self.padding = -(1 + 2 * n_labels) % LANES

    def make_chains(self, steps: Steps) -> Chains:
        starts = np.array([0, *(end for _, end in steps)], dtype=np.int64)
        return Chains(starts, self.n_labels, 1 + 2 * self.n_labels + self.padding)

    def fill_rows(self, rows: torch.Tensor, value: float) -> np.ndarray:
        return self._insert(rows.detach().numpy(), 1 + 3 * self.n_labels, value)

    def cut_rows(self, rows: np.ndarray) -> torch.Tensor:
        start = 1 + 3 * self.n_labels
        parts = rows[:, :start], rows[:, start + self.padding :]
        return torch.from_numpy(np.concatenate(parts, axis=1))

    def fill_outer(self, outer: torch.Tensor, value: float) -> np.ndarray:
        columns = self._insert(outer.detach().numpy(), len(outer), value)
        return np.ascontiguousarray(self._insert(columns.T, 1 + self.n_labels, value).T)

    def fill_inner(self, inner: torch.Tensor) -> np.ndarray:
        return inner.detach().contiguous().numpy().reshape(4, -1)

    def _insert(self, rows: np.ndarray, column: int, value: float) -> np.ndarray:
        filled = np.full((len(rows), rows.shape[1] + self.padding), value, dtype=rows.dtype)
        filled[:, :column] = rows[:, :column]
        filled[:, column + self.padding :] = rows[:, column:]
        return filled
