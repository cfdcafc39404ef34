"""The output of a classifier as a Thinc layer."""

from collections.abc import Callable

from thinc.api import Model
from thinc.types import Floats2d
from thinc.util import partial

InT = Floats2d
OutT = Floats2d


def probabilities(*, exclusive: bool) -> Model[InT, OutT]:
    """Make probabilities of scores. The gradient that comes back is taken for the scores' own, as
    it is where the loss is cross-entropy: probabilities less truths. Thinc's `Logistic`
    multiplies it by the sigmoid's derivative, so that what is badly wrong is hardly corrected.

    exclusive (bool): Whether the probabilities of a row add up to 1 (softmax), or each is by
        itself (sigmoid).
    RETURNS (Model[Floats2d, Floats2d]): The layer.
    """
    return Model("probabilities", partial(forward, exclusive), dims={"nI": None, "nO": None})


def forward(
    exclusive: bool, model: Model[InT, OutT], X: InT, is_train: bool
) -> tuple[OutT, Callable[[OutT], InT]]:
    """Compute the probabilities of a batch."""
    Y = model.ops.softmax(X) if exclusive else model.ops.sigmoid(X)
    return Y, lambda dY: dY
