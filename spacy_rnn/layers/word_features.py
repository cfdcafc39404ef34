"""Embedding of words that are in no Doc, for language models."""

from collections.abc import Sequence
from typing import Any

from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model

from ..modules.networks import LEXEME_EMBEDDING
from .char_cnn import get_char_features
from .embed import get_inputs
from .lexemes import Tokens
from .torch_arrays import to_torch
from .torch_shim import get_shim


def get_features(
    embed: Model, words: Sequence[str], vocab: Vocab, word_dropout: float = 0.0
) -> dict[str, Any]:
    """Get the arguments of an embedding layer's network for words.

    embed (Model[List[Doc], List[Floats2d]]): The layer, initialised: spacy-rnn.LexemeEmbed.v1 or
        spacy-rnn.CharCNNEmbed.v1.
    words (Sequence[str]): The words, at least one.
    vocab (Vocab): The vocab with their attributes.
    word_dropout (float): The share of words that are masked. A CharCNN masks none.
    RETURNS (Dict[str, ArrayXd]): The arguments, for one row of output a word.
    """
    shim = get_shim(embed)
    shim.require_weights()
    if shim.network != LEXEME_EMBEDDING:
        return get_char_features(shim, words)
    tokens = Tokens([Doc(vocab, words=list(words))], shim.settings["attrs"])
    return get_inputs(shim, tokens, tokens.get_lexemes(), word_dropout)


def learn_words(embed: Model, words: Sequence[str], vocab: Vocab) -> None:
    """Add words to the known ones of an embedding layer. It masks unknown words, whose rows are
    shared with known ones.

    embed (Model[List[Doc], List[Floats2d]]): The layer, as above.
    words (Sequence[str]): The words.
    vocab (Vocab): The vocab with their attributes.
    """
    shim = get_shim(embed)
    if shim.network == LEXEME_EMBEDDING and words:
        keys = to_torch(get_features(embed, words, vocab)["words"], shim.device)
        shim.require_module().known_words.add(keys)
