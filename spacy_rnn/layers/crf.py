"""The output layer of a linear-chain CRF."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy
from thinc.api import Model, Ops
from thinc.initializers import glorot_uniform_init
from thinc.types import Floats1d, Floats2d

from .. import kernels
from ..modules.weights import Weights
from .ragged import join, no_backprop, split

InT = list[Floats2d]
# New tags start below the least probable one, so that they don't compete before they are learned.
NEW_TAG_BIAS = -2.0
# The scores that do not depend on the batch.
LEARNED = ("transitions", "start", "end")


@dataclass
class CRFScores:
    """A CRF's scores for a batch, or their gradient.

    emissions (List[Floats2d]): The scores of each sequence's tags. Each (tokens, nO)
    transitions (Floats2d): The scores of a tag (column) after another (row). (nO, nO)
    start, end (Floats1d): The scores of a sequence's first and last tag. (nO,)
    """

    emissions: list[Floats2d]
    transitions: Floats2d
    start: Floats1d
    end: Floats1d


# The scores of each member of an ensemble. A single network is its only member.
MemberScores = list[CRFScores]


def crf_output(
    nO: int | None = None, nI: int | None = None, *, transitions: bool = True
) -> Model[InT, MemberScores]:
    """Score the tags of tokens, by a linear map, and the transitions between them.

    nO (Optional[int]): The number of tags.
    nI (Optional[int]): The input width.
    transitions (bool): Whether transitions are learned; if not, they all score zero.
    RETURNS (Model[List[Floats2d], List[CRFScores]]): The layer.
    """
    return Model(
        "crf_output",
        forward,
        init=init,
        dims={"nO": nO, "nI": nI},
        params={"W": None, "b": None, "transitions": None, "start": None, "end": None},
        attrs={"learn_transitions": transitions},
    )


def forward(
    model: Model[InT, MemberScores], Xs: InT, is_train: bool
) -> tuple[MemberScores, Callable[[MemberScores], InT]]:
    """Score a batch. Sequences may be empty."""
    W, b = cast(Floats2d, model.get_param("W")), cast(Floats1d, model.get_param("b"))
    lengths = [len(X) for X in Xs]
    Xf = join(model.ops, Xs, W.shape[1])
    transitions, start, end = (cast(Any, model.get_param(name)) for name in LEARNED)
    if not is_train and kernels.INSTRUCTIONS is not None and isinstance(Xf, numpy.ndarray):
        # BLIS is several times as slow on processors that it does not know, and torch's product
        # depends on the batch.
        from ..modules.linear import predict_linear

        weights = Weights({"W": W, "b": b})
        Y = split(numpy.ascontiguousarray(predict_linear(weights, "W", "b", Xf)), lengths)
        return [CRFScores(Y, transitions, start, end)], no_backprop
    Yf = model.ops.affine(Xf, W, b)
    scores = CRFScores(split(Yf, lengths), transitions, start, end)

    def backprop(d_members: MemberScores) -> InT:
        (d_scores,) = d_members
        dYf = join(model.ops, d_scores.emissions, W.shape[0])
        model.inc_grad("W", model.ops.gemm(dYf, Xf, trans1=True))
        model.inc_grad("b", dYf.sum(axis=0))
        if model.attrs["learn_transitions"]:
            for name in LEARNED:
                model.inc_grad(name, getattr(d_scores, name))
        return split(model.ops.gemm(dYf, W), lengths)

    return [scores], backprop


def init(model: Model[InT, MemberScores], X: InT | None = None, Y: Any = None) -> None:
    """Infer the input width, and make the parameters."""
    if X is not None and not model.has_dim("nI"):
        model.set_dim("nI", X[0].shape[1])
    nO, nI = model.get_dim("nO"), model.get_dim("nI")
    for name, shape in _get_shapes(nO, nI).items():
        model.set_param(name, model.ops.alloc(shape))
    model.set_param("W", glorot_uniform_init(model.ops, (nO, nI)))


def _get_shapes(nO: int, nI: int) -> dict[str, tuple[int, ...]]:
    return {"W": (nO, nI), "b": (nO,), "transitions": (nO, nO), "start": (nO,), "end": (nO,)}


def extend_output(layer: Model[InT, MemberScores], nO: int) -> Model[InT, MemberScores]:
    """RETURNS (Model): A new layer with tags added at the end, for which an optimizer begins
    with its first step. The other tags keep their scores.
    """
    nI = layer.get_dim("nI")
    new = crf_output(nO, nI, transitions=layer.attrs["learn_transitions"])
    for name, shape in _get_shapes(nO, nI).items():
        old = layer.get_param(name)
        values = layer.ops.alloc(shape)
        if name == "b":
            values += old.min() + NEW_TAG_BIAS
        values[tuple(slice(size) for size in old.shape)] = old
        new.set_param(name, values)
    return new


def find_outputs(model: Model) -> list[Model[InT, MemberScores]]:
    """RETURNS (List[Model]): The layers of this kind in a model, one for each member."""
    return [layer for layer in model.walk() if layer._func is forward]


def get_zeros(scores: CRFScores) -> CRFScores:
    """RETURNS (CRFScores): Zeros of the same shapes."""
    learned = {name: 0 * getattr(scores, name) for name in LEARNED}
    return CRFScores([0 * Y for Y in scores.emissions], **learned)


def to_numpy(ops: Ops, scores: CRFScores) -> dict[str, numpy.ndarray]:
    """Copy scores to the CPU, if they are not there.

    ops (Ops): The layer's backend.
    scores (CRFScores): The scores, not all of the sequences empty.
    RETURNS (Dict[str, ndarray]): The same by name, with the emissions joined: (N, nO).
    """
    learned = {name: ops.to_numpy(getattr(scores, name)) for name in LEARNED}
    return {"emissions": ops.to_numpy(join(ops, scores.emissions)), **learned}


def from_numpy(ops: Ops, arrays: dict[str, Any], lengths: Sequence[int]) -> CRFScores:
    """RETURNS (CRFScores): What `to_numpy` returned, or its gradient, as sequences of the backend's
    arrays, in single precision.
    """
    scores: dict[str, Any] = {name: ops.asarray(x, dtype="float32") for name, x in arrays.items()}
    scores["emissions"] = split(scores["emissions"], lengths)
    return CRFScores(**scores)
