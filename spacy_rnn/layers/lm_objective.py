"""Language modelling as an auxiliary loss, as a Thinc layer."""

from collections.abc import Callable

import numpy
from spacy.attrs import LOWER
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d
from thinc.util import partial

from ..modules.embed.subword import mix_hash
from .ragged import join, split
from .rehearsal import is_rehearsing
from .torch_shim import TorchShim, get_shim

InT = list[Doc]
OutT = list[Floats2d]


def with_lm_objective(
    tok2vec: Model[InT, OutT], shim: TorchShim, weight: float
) -> Model[InT, OutT]:
    """Add the loss of predicting the words beside each token. The layer's output stays the same.

    tok2vec (Model[List[Doc], List[Floats2d]]): The layer, with one recurrent layer last.
    shim (TorchShim): Builds an `LMObjective`; needs `nI`.
    weight (float): The weight of the loss.
    RETURNS (Model[List[Doc], List[Floats2d]]): The layer.
    """
    return Model(
        shim.layer,
        partial(forward, weight),
        init=init,
        layers=[tok2vec],
        shims=[shim],
        dims={"nO": tok2vec.get_dim("nO")},
    )


def forward(
    weight: float, model: Model[InT, OutT], docs: InT, is_train: bool
) -> tuple[OutT, Callable]:
    """Run the layer."""
    Ys, backprop_tok2vec = model.layers[0](docs, is_train)
    shim = get_shim(model)
    lengths = [len(doc) for doc in docs]
    if not is_train or is_rehearsing(model) or max(lengths, default=0) < 2:
        return Ys, backprop_tok2vec
    words = [doc.to_array([LOWER]).reshape(-1) for doc in docs]
    rows = mix_hash(numpy.concatenate(words)) % numpy.uint64(shim.settings["nO"])
    xp = model.ops.xp
    inputs = (xp.asarray(rows.astype(numpy.int64)), xp.asarray(_find_firsts(lengths)))
    loss, backprop_loss = shim.begin_update(join(model.ops, Ys), *inputs)

    def backprop(dYs: OutT) -> InT:
        dYf = join(model.ops, dYs) + backprop_loss(xp.full_like(loss, weight))
        return backprop_tok2vec(split(dYf, lengths))

    return Ys, backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Initialise the layer and the objective."""
    model.layers[0].initialize(X=X, Y=Y)
    get_shim(model).initialize(nI=model.get_dim("nO"))


def _find_firsts(lengths: list[int]) -> numpy.ndarray:
    """RETURNS (ndarray): The tokens that have another one after them in their sequence."""
    sequences = numpy.repeat(numpy.arange(len(lengths)), lengths)
    return numpy.flatnonzero(sequences[:-1] == sequences[1:])
