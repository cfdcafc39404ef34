"""The probabilities of classifiers that vote, as a Thinc layer."""

from collections.abc import Callable

from spacy.tokens import Doc
from thinc.api import Model, Ops
from thinc.types import Floats2d
from thinc.util import partial

InT = list[Doc]
OutT = Floats2d

# In single precision a probability is not yet 1, so that it differs from a truth that is known.
MAX_LOGIT = 15.0


def ensemble(classifiers: list[Model[InT, OutT]], *, exclusive: bool) -> Model[InT, OutT]:
    """Add up the scores of classifiers and make probabilities of the sum (Hinton 2002, "Training
    Products of Experts by Minimizing Contrastive Divergence"), but train each by itself: the
    gradient of its scores is that of its own cross-entropy, its probabilities less the truths.
    With the gradient of the sum, the one that learns fastest would leave the others nothing to
    learn, and they nothing to correct.

    The gradient that comes back is to be the probabilities less the truths, and zero where the
    truth is not known, as spaCy's text classifiers have it. Thinc's `Logistic` would multiply it
    by the sigmoid's derivative, so that what is badly wrong is hardly corrected.

    classifiers (List[Model[List[Doc], Floats2d]]): One or several, that give each text a score for
        each label.
    exclusive (bool): Whether the probabilities of a text add up to 1 (softmax), or each label has
        one by itself (sigmoid).
    RETURNS (Model[List[Doc], Floats2d]): The layer.
    """
    return Model(
        "ensemble",
        partial(forward, exclusive),
        init=init,
        dims={"nO": None},
        layers=classifiers,
    )


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
        # Of labels that exclude each other, none is unknown.
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
