from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d, Floats3d

from ..checks import check_count, check_rate
from ..layers.bilm import bilm as run_bilm
from ..layers.torch_shim import TorchShim
from ..modules.networks import FEED_FORWARD_LM
from .bilm import DEFAULT_CUTOFFS, check_embed, hold_softmax


@registry.architectures("spacy-rnn.FeedForwardLM.v1")
def build_feed_forward_lm(
    embed: Model[list[Doc], list[Floats2d]],
    width: int = 384,
    hidden: int = 768,
    window: int = 4,
    softmax: str = "adaptive",
    cutoffs: list[int] = DEFAULT_CUTOFFS,
    dropout: float | None = None,
    grad_clip_norm: float = 5.0,
    grad_clip_value: float = 0.0,
    mixed_precision: bool = False,
) -> Model[list[Doc], list[Floats3d]]:
    """A feed-forward language model that reads a window of words (Bengio et al. 2003, "A Neural
    Probabilistic Language Model"), to compare with a recurrent one: it fits `rnn_lm` and is
    pretrained by `spacy rnn pretrain`.

    embed (Model[List[Doc], List[Floats2d]]): The embedding layer: spacy-rnn.LexemeEmbed.v1 or
        spacy-rnn.CharCNNEmbed.v1, of the same width.
    width (int): The width of the embeddings and of the output.
    hidden (int): The number of units of the hidden layer.
    window (int): The number of words read to predict the next: one less than n of an n-gram model.
    softmax, cutoffs, dropout, grad_clip_norm, grad_clip_value, mixed_precision: As in
        spacy-rnn.BiLM.v1.
    RETURNS (Model[List[Doc], List[Floats3d]]): The model. For each Doc the embeddings and the
        output. (2, tokens, width)
    """
    for name, value in {"width": width, "hidden": hidden, "window": window}.items():
        check_count(name, value, 1)
    if dropout is not None:
        check_rate("dropout", dropout)
    check_embed("spacy-rnn.FeedForwardLM.v1", embed, width)
    shim = TorchShim(
        "feed_forward_lm",
        FEED_FORWARD_LM,
        {"width": width, "hidden": hidden, "window": window},
        # What a recurrent model of this form would have.
        layer_settings={"directions": "forward", "depth": 1},
        grad_clip_norm=grad_clip_norm,
        grad_clip_value=grad_clip_value,
        mixed_precision=mixed_precision,
    )
    output = hold_softmax(width, softmax, cutoffs, mixed_precision=mixed_precision)
    return run_bilm(embed, output, shim, dropout)
