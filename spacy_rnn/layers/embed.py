"""The embedding of lexemes as a Thinc layer."""

from collections.abc import Callable
from typing import Any

import numpy
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d
from thinc.util import partial

from .lexemes import Lexemes, Tokens, extract_features
from .ragged import join, no_backprop, run_module, split
from .rehearsal import is_rehearsing
from .row_cache import RowCache
from .torch_shim import TorchShim, get_shim
from .vectors import get_static_vectors

InT = list[Doc]
OutT = list[Floats2d]


def lexeme_embed(shim: TorchShim, width: int | None, word_dropout: float) -> Model[InT, OutT]:
    """Embed the tokens of Docs, computing each distinct lexeme of the batch once.

    shim (TorchShim): Builds a `LexemeEmbedding`; needs `vectors_width`. Its layer settings say
        what to extract: `attrs`, `prefix_sizes`, `suffix_sizes`, `ngram_sizes` and
        `include_static_vectors`.
    width (Optional[int]): The output width, if it is known before initialisation.
    word_dropout (float): The share of tokens that lose their first attribute, the word, in
        training.
    RETURNS (Model[List[Doc], List[Floats2d]]): The layer. Each (tokens, nO)
    """
    # Bound to the function, and no attribute: those are stored, and would outlive the config.
    embed = partial(forward, word_dropout)
    return Model(shim.layer, embed, init=init, dims={"nO": width}, shims=[shim])


def forward(
    word_dropout: float, model: Model[InT, OutT], docs: InT, is_train: bool
) -> tuple[OutT, Callable]:
    """Embed a batch of Docs or Spans."""
    shim = get_shim(model)
    shim.require_weights()
    lengths = [len(doc) for doc in docs]
    if not any(lengths):
        return [model.ops.alloc2f(0, model.get_dim("nO")) for _ in docs], lambda dYs: []
    tokens = Tokens(docs, shim.settings["attrs"])
    if not is_train:
        return split(_predict(shim, tokens), lengths), no_backprop
    learns = not is_rehearsing(model)
    inputs = get_inputs(shim, tokens, tokens.get_lexemes(), word_dropout if learns else 0.0)
    Yf, backprop_flat = run_module(model, None, True, **inputs, is_train=learns)

    def backprop(dYs: OutT) -> InT:
        backprop_flat(join(model.ops, dYs))
        return []

    return split(Yf, lengths), backprop


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
    model.set_dim("nO", shim.require_module().nO, force=True)


def _predict(shim: TorchShim, tokens: Tokens) -> Any:
    def embed(which: list[int] | None = None) -> Any:
        lexemes = tokens.get_lexemes(None if which is None else numpy.asarray(which))
        return shim.predict(**get_inputs(shim, tokens, lexemes, 0.0))

    if shim.settings["include_static_vectors"]:
        # Nobody says when the vocab's vectors change, so that nothing can be cached.
        return embed()
    cache = shim.require_weights().cached("rows", RowCache)
    return cache.get_rows(tokens.keys.tolist(), embed)


def get_inputs(
    shim: TorchShim, tokens: Tokens, lexemes: Lexemes, word_dropout: float
) -> dict[str, Any]:
    """Get the arguments of the layer's network.

    shim (TorchShim): The layer's shim.
    tokens (Tokens): The batch.
    lexemes (Lexemes): Its lexemes.
    word_dropout (float): The share of tokens that lose their word.
    RETURNS (Dict[str, ArrayXd]): The arguments except `is_train`.
    """
    arrays: dict[str, Any] = extract_features(shim.settings, tokens.docs, lexemes, word_dropout)
    if shim.settings["include_static_vectors"]:
        arrays["vectors"] = get_static_vectors(tokens.docs, lexemes, shim.inferred["vectors_width"])
    return arrays
