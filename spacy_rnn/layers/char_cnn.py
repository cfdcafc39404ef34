"""The embedding of words by their characters as a Thinc layer."""

from collections.abc import Callable, Sequence

import numpy
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from ..modules.embed.sizes import CHAR_ROWS
from .ragged import join, run_module, split
from .torch_shim import TorchShim, get_shim

InT = list[Doc]
OutT = list[Floats2d]

# Rows of the begin and end marks, and the first of a character. Row 0 is padding.
_BEGIN, _END, _FIRST = 1, 2, 3


def char_cnn_embed(shim: TorchShim, width: int) -> Model[InT, OutT]:
    """Embed the tokens of Docs by their characters, computing each distinct word once.

    shim (TorchShim): Builds a `CharCNN`; its layer setting is `max_chars`.
    width (int): The output width.
    RETURNS (Model[List[Doc], List[Floats2d]]): The layer.
    """
    return Model(shim.layer, forward, init=init, dims={"nO": width}, shims=[shim])


def forward(model: Model[InT, OutT], docs: InT, is_train: bool) -> tuple[OutT, Callable]:
    """Embed a batch of Docs or Spans."""
    shim = get_shim(model)
    shim.require_weights()
    lengths = [len(doc) for doc in docs]
    if not any(lengths):
        return [model.ops.alloc2f(0, model.get_dim("nO")) for _ in docs], lambda dYs: []
    features = get_char_features(shim, [token.text for doc in docs for token in doc])
    Yf, backprop_flat = run_module(model, None, is_train, **features)

    def backprop(dYs: OutT) -> InT:
        backprop_flat(join(model.ops, dYs))
        return []

    return split(Yf, lengths), backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Make the module."""
    get_shim(model).initialize()


def get_char_features(shim: TorchShim, words: Sequence[str]) -> dict[str, numpy.ndarray]:
    """Get the arguments of the layer's network.

    shim (TorchShim): The layer's shim.
    words (Sequence[str]): The words, at least one.
    RETURNS (Dict[str, ndarray]): The arguments, for one row of output a word.
    """
    numbers: dict[str, int] = {}
    tokens = [numbers.setdefault(word, len(numbers)) for word in words]
    distinct = [_shorten(word, shim.settings["max_chars"]) for word in numbers]
    chars = numpy.zeros((len(distinct), max(map(len, distinct)) + 2), dtype=numpy.int64)
    for row, word in zip(chars, distinct, strict=True):
        codes = numpy.fromiter(map(ord, word), dtype=numpy.int64, count=len(word))
        row[: len(word) + 2] = [_BEGIN, *(_FIRST + codes % (CHAR_ROWS - _FIRST)), _END]
    return {"chars": chars, "tokens": numpy.asarray(tokens)}


def _shorten(word: str, max_chars: int) -> str:
    half = max_chars // 2
    return word if len(word) <= max_chars else word[:half] + word[-half:]
