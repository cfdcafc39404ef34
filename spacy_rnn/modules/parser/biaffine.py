"""Deep biaffine attention (Dozat & Manning 2017, "Deep Biaffine Attention for Neural Dependency
Parsing"), on arrays: scores of arcs and labels, and the gradient of their loss.

An arc's score is that of the head's state after an affine map of the dependent's state, and so is
that of each label. Arrays are flat: the tokens of one sentence after another.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Widths:
    """How a token's state is divided.

    arc (int): The width of its state as a dependent, and as a head.
    label (int): The width of both for labels. The last number scores the start of a sentence.
    """

    arc: int
    label: int

    @property
    def total(self) -> int:
        """RETURNS (int): The width of a state."""
        return 2 * (self.arc + self.label) + 1

    def get_shapes(self, n_labels: int) -> dict[str, tuple[int, ...]]:
        """RETURNS (Dict[str, Tuple[int, ...]]): The shapes of the parameters: the affine maps for
        arcs and for labels, where a head's state ends with 1, and the root's states as a head.
        """
        mapped = n_labels * (self.label + 1)
        return {
            "arc_W": (self.arc, self.arc),
            "arc_b": (self.arc,),
            "label_W": (mapped, self.label),
            "label_b": (mapped,),
            "root": (self.arc + self.label,),
        }

    def split(self, X: Any) -> tuple[Any, Any, Any, Any, Any]:
        """RETURNS (Tuple[ArrayXd, ...]): The parts of states, or of their gradient: dependents and
        heads of arcs, dependents and heads of labels, scores of sentence starts.
        """
        a, b = self.arc, 2 * self.arc
        c, d = b + self.label, b + 2 * self.label
        return X[:, :a], X[:, a:b], X[:, b:c], X[:, c:d], X[:, d]


@dataclass
class Truth:
    """The annotation of a batch.

    lengths (ndarray): The number of tokens of each sentence.
    heads (ndarray): The head of each token: 0 for the root, i + 1 for token i of the sentence, -1
        if it is not known. (N,)
    labels (ndarray): The number of the arc's label, -1 if it is not known. (N,)
    starts (ndarray): 1 if a token starts a sentence, 0 if not, -1 if it is not known. (N,)
    """

    lengths: np.ndarray
    heads: np.ndarray
    labels: np.ndarray
    starts: np.ndarray


def iterate_sentences(lengths: np.ndarray) -> Iterator[slice]:
    """YIELDS (slice): The rows of each sentence."""
    start = 0
    for length in lengths.tolist():
        yield slice(start, start + length)
        start += length


def compute_loss(
    xp: Any, X: Any, params: dict[str, Any], widths: Widths, truth: Truth
) -> tuple[float, Any, dict[str, Any]]:
    """Compute the negative log-likelihood of the annotation: each token's head among the tokens of
    its sentence and the root, each known arc's label, and where sentences start.

    xp (module): numpy or cupy.
    X (ArrayXd): The states. (N, widths.total)
    params (Dict[str, ArrayXd]): The parameters.
    widths (Widths): How states are divided.
    truth (Truth): The annotation.
    RETURNS (Tuple[float, ArrayXd, Dict[str, ArrayXd]]): The sum over all tokens, and its gradient
        for the states and for the parameters.
    """
    dX = xp.zeros_like(X)
    grads = {name: xp.zeros_like(param) for name, param in params.items()}
    loss = _add_arc_loss(xp, X, dX, params, grads, widths, truth)
    loss += _add_label_loss(xp, X, dX, params, grads, widths, truth)
    starts, known = xp.asarray(truth.starts), xp.asarray(truth.starts >= 0)
    scores = X[:, -1].astype("float64")
    dX[:, -1] = known * (1 / (1 + xp.exp(-scores)) - starts)
    # log(1 + exp(s)) for s where there is no start, -s where there is one
    losses = xp.logaddexp(0, xp.where(starts == 1, -scores, scores))
    return loss + float((known * losses).sum()), dX, grads


def score_arcs(xp: Any, mapped: Any, heads: Any, root: Any) -> Any:
    """RETURNS (ArrayXd): The scores of a sentence's arcs: of each token (row) for the root (first
    column) and each token. (n, n + 1)
    """
    return mapped @ xp.concatenate([root[None], heads]).T


def _add_arc_loss(
    xp: Any, X: Any, dX: Any, params: dict, grads: dict, widths: Widths, truth: Truth
) -> float:
    dependents, heads, *_ = widths.split(X)
    mapped = dependents @ params["arc_W"].T + params["arc_b"]
    d_mapped = xp.zeros_like(mapped)
    d_dependents, d_heads, *_ = widths.split(dX)
    root, d_root = params["root"][: widths.arc], grads["root"][: widths.arc]
    loss = 0.0
    for rows in iterate_sentences(truth.lengths):
        known = (truth.heads[rows] >= 0).nonzero()[0]
        if not len(known):
            continue
        scores = score_arcs(xp, mapped[rows], heads[rows], root)
        n = len(scores)
        # No token is its own head.
        scores[xp.arange(n), xp.arange(1, n + 1)] = -xp.inf
        part, d_scores = xp.asarray(known), xp.zeros_like(scores)
        added, d_scores[part] = _cross_entropy(xp, scores[part], truth.heads[rows][known])
        loss += added
        d_mapped[rows] = d_scores[:, 1:] @ heads[rows] + d_scores[:, :1] * root
        d_heads[rows] = d_scores[:, 1:].T @ mapped[rows]
        d_root += d_scores[:, 0] @ mapped[rows]
    d_dependents[:] = d_mapped @ params["arc_W"]
    grads["arc_W"] += d_mapped.T @ dependents
    grads["arc_b"] += d_mapped.sum(axis=0)
    return loss


def _add_label_loss(
    xp: Any, X: Any, dX: Any, params: dict, grads: dict, widths: Widths, truth: Truth
) -> float:
    known = ((truth.heads >= 0) & (truth.labels >= 0)).nonzero()[0]
    if not len(known):
        return 0.0
    rows = xp.asarray(known)
    head_rows = xp.asarray(find_head_rows(truth.lengths, truth.heads)[known])
    _, _, dependents, heads, _ = widths.split(X)
    dependents, heads = dependents[rows], extend_heads(xp, heads, params["root"], widths)[head_rows]
    mapped = dependents @ params["label_W"].T + params["label_b"]
    mapped = mapped.reshape(len(known), -1, widths.label + 1)
    scores = (mapped @ heads[:, :, None])[:, :, 0]
    loss, d_scores = _cross_entropy(xp, scores, truth.labels[known])
    d_mapped = (d_scores[:, :, None] * heads[:, None, :]).reshape(len(known), -1)
    grads["label_W"] += d_mapped.T @ dependents
    grads["label_b"] += d_mapped.sum(axis=0)
    _, _, d_dependents, d_heads, _ = widths.split(dX)
    d_dependents[rows] = d_mapped @ params["label_W"]
    d_extended = xp.zeros((len(X) + 1, widths.label + 1), dtype=X.dtype)
    xp.add.at(d_extended, head_rows, (d_scores[:, None, :] @ mapped)[:, 0])
    d_heads += d_extended[:-1, :-1]
    grads["root"][widths.arc :] += d_extended[-1, :-1]
    return loss


def extend_heads(xp: Any, heads: Any, root: Any, widths: Widths) -> Any:
    """RETURNS (ArrayXd): Heads' states for labels, each followed by 1; the root's is the last row.
    (N + 1, widths.label + 1)
    """
    extended = xp.ones((len(heads) + 1, widths.label + 1), dtype=heads.dtype)
    extended[:-1, :-1] = heads
    extended[-1, :-1] = root[widths.arc :]
    return extended


def find_head_rows(lengths: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): The row of each token's head in the batch, -1 for the root. (N,)"""
    firsts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.where(heads > 0, firsts + heads - 1, -1)


def _cross_entropy(xp: Any, scores: Any, truth: np.ndarray) -> tuple[float, Any]:
    """RETURNS (Tuple[float, ArrayXd]): The sum over all rows, and the gradient of the scores."""
    places = xp.arange(len(scores)), xp.asarray(truth)
    powers = xp.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    loss = -xp.log(xp.maximum(probabilities[places], 1e-30)).sum()
    probabilities[places] -= 1
    return float(loss), probabilities
