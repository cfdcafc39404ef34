"""Several networks with a CRF each, as a Thinc layer."""

from collections.abc import Callable, Sequence
from typing import Any

from spacy.tokens import Doc
from thinc.api import Model, Ops

from .crf import LEARNED, CRFScores, MemberScores
from .ragged import join, split

InT = list[Doc]


def crf_ensemble(members: list[Model[InT, MemberScores]]) -> Model[InT, MemberScores]:
    """Run networks that learn independently, and whose scores are averaged in prediction: the
    logarithmic opinion pool of conditional random fields (Smith et al. 2005, "Logarithmic Opinion
    Pools for Conditional Random Fields"). Trained on the loss of the average, they would compensate
    for each other's mistakes in training only.

    members (List[Model[List[Doc], List[CRFScores]]]): The networks.
    RETURNS (Model[List[Doc], List[CRFScores]]): The layer.
    """
    return Model("crf_ensemble", forward, init=init, layers=members)


def forward(
    model: Model[InT, MemberScores], docs: InT, is_train: bool
) -> tuple[MemberScores, Callable[[MemberScores], InT]]:
    """Score a batch."""
    scores, callbacks = zip(*(layer(docs, is_train) for layer in model.layers), strict=True)

    def backprop(d_members: MemberScores) -> InT:
        for callback, d_member in zip(callbacks, d_members, strict=True):
            callback([d_member])
        return []

    return [member for (member,) in scores], backprop


def init(model: Model[InT, MemberScores], X: InT | None = None, Y: Any = None) -> None:
    """Initialise the members."""
    for layer in model.layers:
        layer.initialize(X=X, Y=Y)


def average(ops: Ops, members: Sequence[CRFScores]) -> CRFScores:
    """Average scores.

    ops (Ops): The model's backend.
    members (Sequence[CRFScores]): The scores of each network for the same batch.
    RETURNS (CRFScores): The mean of each.
    """
    if len(members) == 1:
        return members[0]
    lengths = [len(Y) for Y in members[0].emissions]
    width = members[0].transitions.shape[0]
    flat = sum(join(ops, member.emissions, width) for member in members) / len(members)
    learned = {
        name: sum(getattr(member, name) for member in members) / len(members) for name in LEARNED
    }
    return CRFScores(split(flat, lengths), **learned)
