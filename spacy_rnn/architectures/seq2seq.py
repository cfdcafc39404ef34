from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from ..checks import check_choice, check_count, check_flag
from ..layers.seq2seq import seq2seq
from ..layers.string_writer import string_writer
from ..layers.torch_shim import TorchShim
from ..modules.networks import SEQ2SEQ
from ..modules.rnn.cells import CELLS

ATTENTION = ("dot", "general", "additive")


@registry.architectures("spacy-rnn.Seq2Seq.v1")
def build_seq2seq(
    tok2vec: Model[list[Doc], list[Floats2d]],
    width: int = 96,
    char_width: int = 48,
    depth: int = 1,
    cell: str = "lstm",
    attention: str = "general",
    copy: bool = True,
    context_bits: int = 6,
    grad_clip_norm: float = 5.0,
    grad_clip_value: float = 0.0,
) -> Model[list[Doc], list[Floats2d]]:
    """Write a string for each token, for `rnn_lemmatizer` and `rnn_transducer`: by an edit script
    that a softmax chooses, or by an encoder and a decoder with attention over characters (Bahdanau
    et al. 2015; Luong et al. 2015).

    tok2vec (Model[List[Doc], List[Floats2d]]): Embeds the tokens in context.
    width (int): The width of the encoder's output, both directions together, and of the decoder.
    char_width (int): The width of a character's embedding.
    depth (int): The number of layers of the encoder. The decoder has one.
    cell (str): The kind of cell, as in spacy-rnn.RNNEncoder.v1.
    attention (str): How states are compared: "dot", "general" or "additive".
    copy (bool): Whether the decoder can copy characters, also those that training never showed
        (See et al. 2017, "Get To The Point").
    context_bits (int): The decoder sees the token's vector rounded to so many bits, so that a word
        is decoded once for similar contexts. 0 decodes words without context.
    grad_clip_norm (float): The largest norm of the gradients of encoder and decoder together. 0
        turns it off.
    grad_clip_value (float): The largest size of a gradient's element. 0 turns it off.
    RETURNS (Model[List[Doc], List[Floats2d]]): The model. Its layers "edits" and "decoder" run on
        the tokens that the component chooses.
    """
    check_count("width", width, 2)
    if width % 2:
        raise ValueError(f"Setting width = {width} must be even: both directions have half of it.")
    for name, value in {"char_width": char_width, "depth": depth}.items():
        check_count(name, value, 1)
    check_count("context_bits", context_bits, 0)
    check_choice("cell", cell, sorted(CELLS))
    check_choice("attention", attention, ATTENTION)
    check_flag("copy", copy)
    shim = TorchShim(
        "seq2seq",
        SEQ2SEQ,
        {
            "width": width,
            "char_width": char_width,
            "depth": depth,
            "cell": cell,
            "attention": attention,
            "copy": copy,
            "context_bits": context_bits,
        },
        grad_clip_norm=grad_clip_norm,
        grad_clip_value=grad_clip_value,
    )
    return string_writer(tok2vec, seq2seq(shim))
