"""Language modelling as a second objective, as a Thinc layer."""

from collections.abc import Callable

import numpy
import torch
from spacy.attrs import LOWER
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d
from thinc.util import partial

from ..modules.embed.subword import mix_hash
from ..modules.workers import one_torch_thread
from .ragged import flatten, split, to_torch, to_xp
from .rehearsal import is_rehearsing
from .torch_shim import TorchShim, get_shim

InT = list[Doc]
OutT = list[Floats2d]


def with_lm_objective(
    tok2vec: Model[InT, OutT], shim: TorchShim, weight: float
) -> Model[InT, OutT]:
    """Add to the gradient of a layer's output that of predicting the words beside each token. The
    output is the layer's own.

    tok2vec (Model[List[Doc], List[Floats2d]]): The layer, with one recurrent layer last.
    shim (TorchShim): Builds an `LMObjective`; needs `nI`.
    weight (float): What the objective counts.
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
    shim.require_module()
    words = [doc.to_array([LOWER]).reshape(-1) for doc in docs]
    rows = mix_hash(numpy.concatenate(words)) % numpy.uint64(shim.settings["nO"])
    Yf = flatten(model.ops, Ys, shim.device)
    arrays = (rows.astype(numpy.int64), _find_firsts(lengths))
    inputs = [to_torch(array, shim.device) for array in arrays]
    loss, backprop_objective = shim.begin_update(Yf, *inputs)

    @one_torch_thread()
    def backprop(dYs: OutT) -> InT:
        d_objective = backprop_objective(torch.full_like(loss, weight))
        assert d_objective is not None
        dYf = flatten(model.ops, dYs, shim.device) + d_objective
        return backprop_tok2vec(split(to_xp(dYf), lengths))

    return Ys, backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Initialise the layer and the objective."""
    model.layers[0].initialize(X=X, Y=Y)
    get_shim(model).initialize(nI=model.get_dim("nO"))


def _find_firsts(lengths: list[int]) -> numpy.ndarray:
    """Find the tokens that have another one after them in their sequence."""
    is_first = numpy.ones(sum(lengths), dtype=bool)
    ends = numpy.cumsum([0, *lengths])
    is_first[ends[1:][numpy.diff(ends) > 0] - 1] = False
    return numpy.flatnonzero(is_first)
