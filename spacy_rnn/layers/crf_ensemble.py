"""Several networks with a CRF each, as a Thinc layer."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from spacy.tokens import Doc
from thinc.api import Model

from .crf import LEARNED, CRFScores, get_zeros
from .ragged import join, split

InT = list[Doc]


def crf_ensemble(members: list[Model[InT, CRFScores]]) -> Model[InT, CRFScores]:
    """Average the scores of networks that learn by themselves: the logarithmic opinion pool of
    conditional random fields (Smith et al. 2005, "Logarithmic Opinion Pools for Conditional Random
    Fields"). If they learned together, from the loss of the average, they would make up for each
    other's mistakes in training only.

    members (List[Model[List[Doc], CRFScores]]): The networks.
    RETURNS (Model[List[Doc], CRFScores]): The layer.
    """
    return Model("crf_ensemble", forward, init=init, layers=members)


def forward(
    model: Model[InT, CRFScores], docs: InT, is_train: bool
) -> tuple[CRFScores, Callable[[CRFScores], InT]]:
    """Score a batch. In training the members' scores are returned with their average, and the
    gradient is to have one for each of them.
    """
    members, callbacks = zip(*(layer(docs, is_train) for layer in model.layers), strict=True)
    scores = average(model, members)
    if is_train:
        scores.members = list(members)

    def backprop(d_scores: CRFScores) -> InT:
        if len(d_scores.members) != len(callbacks):
            raise ValueError(
                f"An ensemble of {len(callbacks)} networks needs a gradient for each of them, in "
                f"`members`, and not for {len(d_scores.members)}."
            )
        for callback, d_member in zip(callbacks, d_scores.members, strict=True):
            callback(d_member)
        return []

    return scores, backprop


def init(model: Model[InT, CRFScores], X: InT | None = None, Y: Any = None) -> None:
    """Initialise the members."""
    for layer in model.layers:
        layer.initialize(X=X, Y=Y)


def get_members(model: Model[InT, CRFScores]) -> Sequence[Model[InT, CRFScores]]:
    """RETURNS (Sequence[Model[List[Doc], CRFScores]]): The networks of a model with a CRF: itself,
    if it is no ensemble.
    """
    return model.layers if model.name == "crf_ensemble" else [model]


def average(model: Model[InT, CRFScores], members: Sequence[CRFScores]) -> CRFScores:
    """Average scores.

    model (Model): A layer, for its backend.
    members (Sequence[CRFScores]): The scores of several networks for the same batch.
    RETURNS (CRFScores): The mean of each.
    """
    lengths = [len(Y) for Y in members[0].emissions]
    width = members[0].transitions.shape[0]
    flat = sum(join(model.ops, member.emissions, width) for member in members) / len(members)
    learned = {
        name: sum(getattr(member, name) for member in members) / len(members) for name in LEARNED
    }
    return CRFScores(split(flat, lengths), **learned)


def join_gradients(scores: CRFScores, gradients: list[CRFScores]) -> CRFScores:
    """Make what a model takes back of the gradients of its networks.

    scores (CRFScores): What it returned for a batch, in training.
    gradients (List[CRFScores]): That of each member, or the only one if there are no members.
    RETURNS (CRFScores): The gradient of the scores.
    """
    return replace(get_zeros(scores), members=gradients) if scores.members else gradients[0]
