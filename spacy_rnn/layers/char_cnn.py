"""The embedding of words by their characters as a Thinc layer."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy
import torch
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from ..modules.embed.char_cnn import CHAR_ROWS
from .ragged import flatten, no_backprop, split, to_torch, to_xp
from .torch_shim import TorchShim, get_shim

InT = list[Doc]
OutT = list[Floats2d]

# What is not a character: the beginning and the end of a word. Row 0 is for none.
_BEGIN, _END, _FIRST = 1, 2, 3


def char_cnn_embed(shim: TorchShim, width: int) -> Model[InT, OutT]:
    """Embed the tokens of Docs by their characters, once for each distinct word.

    shim (TorchShim): Builds a `CharCNN`; its layer setting is `max_chars`.
    width (int): The output width.
    RETURNS (Model[List[Doc], List[Floats2d]]): The layer.
    """
    return Model(shim.layer, forward, init=init, dims={"nO": width}, shims=[shim])


def forward(model: Model[InT, OutT], docs: InT, is_train: bool) -> tuple[OutT, Callable]:
    """Embed a batch of Docs or Spans."""
    shim = get_shim(model)
    shim.require_module()
    lengths = [len(doc) for doc in docs]
    if not any(lengths):
        return [model.ops.alloc2f(0, model.get_dim("nO")) for _ in docs], lambda dYs: []
    features = get_char_features(shim, [token.text for doc in docs for token in doc])
    if not is_train:
        return split(to_xp(shim.predict(**features)), lengths), no_backprop
    Yf, backprop_torch = shim.begin_update(None, **features)

    def backprop(dYs: OutT) -> InT:
        backprop_torch(flatten(model.ops, dYs, shim.device))
        return []

    return split(to_xp(Yf), lengths), backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Make the module."""
    get_shim(model).initialize()


def get_char_features(shim: TorchShim, words: Sequence[str]) -> dict[str, torch.Tensor]:
    """Get what the layer's module embeds words from.

    shim (TorchShim): The layer's.
    words (Sequence[str]): The words, at least one.
    RETURNS (Dict[str, Tensor]): The module's arguments, for one row a word.
    """
    numbers: dict[str, int] = {}
    tokens = [numbers.setdefault(word, len(numbers)) for word in words]
    distinct = [_shorten(word, shim.settings["max_chars"]) for word in numbers]
    chars = numpy.zeros((len(distinct), max(map(len, distinct)) + 2), dtype=numpy.int64)
    for row, word in zip(chars, distinct, strict=True):
        codes = numpy.fromiter(map(ord, word), dtype=numpy.int64, count=len(word))
        row[: len(word) + 2] = [_BEGIN, *(_FIRST + codes % (CHAR_ROWS - _FIRST)), _END]
    arrays: dict[str, Any] = {"chars": chars, "tokens": numpy.asarray(tokens)}
    return {name: to_torch(array, shim.device) for name, array in arrays.items()}


def _shorten(word: str, max_chars: int) -> str:
    half = max_chars // 2
    return word if len(word) <= max_chars else word[:half] + word[-half:]
