"""Classifiers whose scores are added up, as a Thinc layer."""

from collections.abc import Callable

from spacy.tokens import Doc
from thinc.api import Model, Ops
from thinc.types import Floats2d
from thinc.util import partial

InT = list[Doc]
OutT = Floats2d

# A probability below 1 in single precision, so that it differs from a known truth.
MAX_LOGIT = 15.0


def ensemble(classifiers: list[Model[InT, OutT]], *, exclusive: bool) -> Model[InT, OutT]:
    """Make probabilities of the sum of classifiers' scores (Hinton 2002, "Training Products of
    Experts by Minimizing Contrastive Divergence"), but train each by its own cross-entropy. With
    the gradient of the sum, the one that learns fastest would leave nothing to learn for the
    others, and they could not correct it.

    As in spaCy's text classifiers, the gradient that the layer gets is the probabilities minus the
    truths, and zero for an unknown truth. Thinc's `Logistic` would multiply it by the sigmoid's
    derivative, which hardly corrects what is badly wrong.

    classifiers (List[Model[List[Doc], Floats2d]]): Classifiers, with scores for texts and labels.
    exclusive (bool): Whether the probabilities of a text add up to 1 (softmax), or each label has
        its own (sigmoid).
    RETURNS (Model[List[Doc], Floats2d]): The layer.
    """
    forward_bound = partial(forward, exclusive)
    return Model("ensemble", forward_bound, init=init, dims={"nO": None}, layers=classifiers)


def forward(
    exclusive: bool, model: Model[InT, OutT], docs: InT, is_train: bool
) -> tuple[OutT, Callable[[OutT], InT]]:
    """Compute the probabilities of a batch."""
    scores, callbacks = zip(*(layer(docs, is_train) for layer in model.layers), strict=True)
    votes = sum(scores[1:], start=scores[0])
    if not exclusive:
        votes = votes.clip(-MAX_LOGIT, MAX_LOGIT)
    Y = _get_probabilities(model.ops, votes, exclusive=exclusive)

    def backprop(dY: OutT) -> InT:
        truths = Y - dY
        # Exclusive labels are all known.
        is_known = exclusive | (dY != 0)
        for X, callback in zip(scores, callbacks, strict=True):
            own = _get_probabilities(model.ops, X, exclusive=exclusive)
            callback((own - truths) * is_known)
        return []

    return Y, backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Initialise the classifiers."""
    if Y is not None:
        model.set_dim("nO", Y.shape[1], force=True)
    for layer in model.layers:
        if model.has_dim("nO"):
            layer.set_dim("nO", model.get_dim("nO"), force=True)
        layer.initialize(X=X, Y=Y)


def _get_probabilities(ops: Ops, scores: OutT, *, exclusive: bool) -> OutT:
    return ops.softmax(scores) if exclusive else ops.sigmoid(scores)
