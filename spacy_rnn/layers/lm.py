"""The language model inside a `BiLM` layer, for what predicts words: pretraining and `rnn_lm`."""

from collections.abc import Sequence
from typing import cast

import torch
from spacy.vocab import Vocab
from thinc.api import Model

from ..modules.directed import DirectedStack
from ..modules.language_model import LanguageModel
from ..modules.lm_softmax import AdaptiveSoftmax, TiedSoftmax
from .embed import get_features
from .torch_shim import get_shim

# Layers store their attributes: a vocabulary belongs to the weights.
_VOCABULARY = "lm_vocabulary"


def set_vocabulary(model: Model, words: Sequence[str]) -> None:
    """Make a new softmax.

    model (Model): What `spacy-rnn.BiLM.v1` returned.
    words (Sequence[str]): The words, as `Vocabulary` wants them.
    RAISES (ValueError): If an adaptive softmax has clusters beyond the vocabulary.
    """
    output = model.get_ref("output")
    shim = get_shim(output)
    cutoffs = shim.settings.get("cutoffs", [])
    if cutoffs and cutoffs[-1] >= len(words):
        raise ValueError(
            f"Setting cutoffs = {cutoffs} of spacy-rnn.BiLM.v1 goes beyond the vocabulary, which "
            f"has {len(words)} words: choose lower ones."
        )
    shim.initialize(n_words=len(words))
    output.attrs[_VOCABULARY] = list(words)


def get_vocabulary(model: Model) -> list[str]:
    """RETURNS (List[str]): The words that the model can predict; none before it was pretrained."""
    return list(model.get_ref("output").attrs.get(_VOCABULARY, []))


def get_language_model(model: Model, vocab: Vocab) -> LanguageModel:
    """Put a language model together, of the modules that the layers hold.

    model (Model): What `spacy-rnn.BiLM.v1` returned, with a vocabulary.
    vocab (Vocab): The vocab that knows the attributes of words.
    RETURNS (LanguageModel): The model.
    """
    embed, output = model.get_ref("embed"), model.get_ref("output")
    for layer in (model, embed, output):
        get_shim(layer).require_module()
    softmax = cast(AdaptiveSoftmax | TiedSoftmax, get_shim(output).module)
    features = None
    if isinstance(softmax, TiedSoftmax):
        features = get_features(embed, get_vocabulary(model), vocab)
    modules = (get_shim(layer).module for layer in (embed, model))
    embedding, stack = cast(tuple[torch.nn.Module, DirectedStack], tuple(modules))
    return LanguageModel(embedding, stack, softmax, features)
