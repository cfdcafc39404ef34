"""The embedding of lexemes as a Thinc layer."""

from collections.abc import Callable
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy
import torch
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d
from thinc.util import partial
from torch import nn

from ..modules.embed.lexeme import LexemeEmbedding
from .lexemes import Lexemes, Tokens, extract_features
from .ragged import flatten, no_backprop, split, to_torch, to_xp
from .rehearsal import is_rehearsing
from .row_cache import RowCache
from .torch_shim import TorchShim, get_shim
from .vectors import get_static_vectors

InT = list[Doc]
OutT = list[Floats2d]

# The embeddings of the words of a text, which are few and frequent, are kept between batches.
# A module must not hold them itself, or they would be copied and stored with it.
_caches: "WeakKeyDictionary[nn.Module, RowCache]" = WeakKeyDictionary()


def lexeme_embed(shim: TorchShim, width: int | None, word_dropout: float) -> Model[InT, OutT]:
    """Embed the tokens of Docs, once for each distinct set of features in the batch.

    shim (TorchShim): Builds a `LexemeEmbedding`; needs `vectors_width`. Its layer settings say
        what to extract: `attrs`, `prefix_sizes`, `suffix_sizes`, `ngram_sizes` and
        `include_static_vectors`.
    width (Optional[int]): The output width, if it is known before initialisation.
    word_dropout (float): The share of tokens in training of which only attributes other than
        the first are shown.
    RETURNS (Model[List[Doc], List[Floats2d]]): The layer; one row of output for each token.
    """
    # Bound to the function, and no attribute: those are stored, and would outlive the config.
    return Model(
        shim.layer,
        partial(forward, word_dropout),
        init=init,
        dims={"nO": width},
        shims=[shim],
    )


def forward(
    word_dropout: float, model: Model[InT, OutT], docs: InT, is_train: bool
) -> tuple[OutT, Callable]:
    """Embed a batch of Docs or Spans."""
    shim = get_shim(model)
    shim.require_module()
    lengths = [len(doc) for doc in docs]
    if not any(lengths):
        return [model.ops.alloc2f(0, model.get_dim("nO")) for _ in docs], lambda dYs: []
    tokens = Tokens(docs, shim.settings["attrs"])
    if not is_train:
        return split(to_xp(_predict(shim, tokens)), lengths), no_backprop
    learns = not is_rehearsing()
    inputs = get_inputs(shim, tokens, tokens.get_lexemes(), word_dropout if learns else 0.0)
    Yf, backprop_torch = shim.begin_update(None, **inputs, is_train=learns)

    def backprop(dYs: OutT) -> InT:
        backprop_torch(flatten(model.ops, dYs, shim.device))
        return []

    return split(to_xp(Yf), lengths), backprop


def init(model: Model[InT, OutT], X: InT | None = None, Y: OutT | None = None) -> None:
    """Look up the width of the static vectors, and make the module."""
    shim, vectors_width = get_shim(model), 0
    if shim.settings["include_static_vectors"]:
        if not X:
            return
        vectors_width = X[0].vocab.vectors_length
        if not vectors_width:
            raise ValueError(
                "Setting include_static_vectors = True needs word vectors, but the vocab has "
                "none: set [initialize] vectors to a pipeline with vectors, or turn it off."
            )
    shim.initialize(vectors_width=vectors_width)
    model.set_dim("nO", cast(LexemeEmbedding, shim.module).nO, force=True)


def _predict(shim: TorchShim, tokens: Tokens) -> torch.Tensor:
    def embed(which: list[int] | None = None) -> torch.Tensor:
        lexemes = tokens.get_lexemes(None if which is None else numpy.asarray(which))
        return shim.predict(**get_inputs(shim, tokens, lexemes, 0.0))

    if shim.settings["include_static_vectors"]:
        # Anybody may change the vocab's vectors at any time, so that nothing can be kept.
        return embed()
    assert shim.module is not None
    if shim.module not in _caches:
        _caches[shim.module] = RowCache([*shim.module.parameters(), *shim.module.buffers()])
    return _caches[shim.module].get_rows(tokens.keys.tolist(), embed)


def get_inputs(
    shim: TorchShim, tokens: Tokens, lexemes: Lexemes, word_dropout: float
) -> dict[str, torch.Tensor]:
    """Get the arguments of the layer's module, but `is_train`.

    shim (TorchShim): The layer's.
    tokens (Tokens): The batch.
    lexemes (Lexemes): Its lexemes.
    word_dropout (float): The share of tokens whose word is hidden.
    RETURNS (Dict[str, Tensor]): The arguments.
    """
    arrays: dict[str, Any] = extract_features(shim.settings, tokens.docs, lexemes, word_dropout)
    if shim.settings["include_static_vectors"]:
        arrays["vectors"] = get_static_vectors(tokens.docs, lexemes, shim.inferred["vectors_width"])
    return {name: to_torch(array, shim.device) for name, array in arrays.items()}
