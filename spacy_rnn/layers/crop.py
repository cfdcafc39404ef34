"""Training on a window of each long text, as a Thinc layer."""

from collections.abc import Callable

import numpy
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d
from thinc.util import partial

from .rehearsal import is_rehearsing

InT = list[Doc]
OutT = list[Floats2d]


def crop(tok2vec: Model[InT, OutT], max_tokens: int | None) -> Model[InT, OutT]:
    """In training, read a random window of each long text. That is faster, and regularises. In
    prediction, the whole text is read.

    tok2vec (Model[List[Doc], List[Floats2d]]): Embeds the tokens. If it listens to another
        component, which reads the whole text anyway, its output is cut.
    max_tokens (Optional[int]): The size of the window; None for the whole text.
    RETURNS (Model[List[Doc], List[Floats2d]]): The layer, with a row for each token that is read.
    """
    dims = {"nO": tok2vec.maybe_get_dim("nO")}
    return Model("crop", partial(forward, max_tokens), init=init, dims=dims, layers=[tok2vec])


def forward(
    max_tokens: int | None, model: Model[InT, OutT], docs: InT, is_train: bool
) -> tuple[OutT, Callable[[OutT], InT]]:
    """Embed a batch."""
    (tok2vec,) = model.layers
    if not is_train or max_tokens is None or is_rehearsing(model):
        return tok2vec(docs, is_train)
    parts = [_choose(len(doc), max_tokens) for doc in docs]
    if not _listens(tok2vec):
        return tok2vec([_cut(doc, part) for doc, part in zip(docs, parts, strict=True)], is_train)
    Xs, backprop = tok2vec(docs, is_train)

    def backprop_cropped(dYs: OutT) -> InT:
        dXs = [model.ops.alloc2f(*X.shape) for X in Xs]
        for dX, part, dY in zip(dXs, parts, dYs, strict=True):
            dX[part] = dY
        return backprop(dXs)

    return [X[part] for X, part in zip(Xs, parts, strict=True)], backprop_cropped


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Initialise the embedding, and take over its width."""
    (tok2vec,) = model.layers
    tok2vec.initialize(X=X, Y=Y)
    if tok2vec.has_dim("nO"):
        model.set_dim("nO", tok2vec.get_dim("nO"), force=True)


def _choose(length: int, max_tokens: int) -> slice:
    # No random number is drawn where there is nothing to choose.
    start = numpy.random.randint(length - max_tokens + 1) if length > max_tokens else 0
    return slice(start, min(start + max_tokens, length))


def _cut(doc: Doc, part: slice) -> Doc:
    # Not every layer of spaCy's takes a Span.
    return doc if part == slice(0, len(doc)) else doc[part].as_doc()


def _listens(tok2vec: Model) -> bool:
    # Listeners know the Docs of a batch, but no parts of them. spaCy's listeners and those for
    # transformers share no class, only the name.
    return any("listener" in node.name for node in tok2vec.walk())
