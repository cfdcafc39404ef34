"""A Thinc layer that hides empty texts from a classifier."""

from collections.abc import Callable

from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

InT = list[Doc]
OutT = Floats2d


def skip_empty(classifier: Model[InT, OutT]) -> Model[InT, OutT]:
    """Give a classifier only the Docs with tokens: spaCy's bag of words with n-grams raises an
    IndexError for an empty one.

    classifier (Model[List[Doc], Floats2d]): Gives each text a score for each label.
    RETURNS (Model[List[Doc], Floats2d]): The same, with 0 for all labels of empty texts.
    """
    return Model("skip_empty", forward, init=init, dims={"nO": None}, layers=[classifier])


def forward(
    model: Model[InT, OutT], docs: InT, is_train: bool
) -> tuple[OutT, Callable[[OutT], InT]]:
    """Score a batch."""
    (classifier,) = model.layers
    present = [i for i, doc in enumerate(docs) if len(doc)]
    if len(present) == len(docs):
        return classifier(docs, is_train)
    Y = model.ops.alloc2f(len(docs), classifier.get_dim("nO"))
    if not present:
        return Y, lambda dY: []
    Y[present], backprop = classifier([docs[i] for i in present], is_train)

    def backprop_present(dY: OutT) -> InT:
        backprop(dY[present])
        return []

    return Y, backprop_present


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Initialise the classifier."""
    (classifier,) = model.layers
    if model.has_dim("nO"):
        classifier.set_dim("nO", model.get_dim("nO"), force=True)
    classifier.initialize(X=[doc for doc in X or [] if len(doc)] or None, Y=Y)
