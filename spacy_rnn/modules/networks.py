"""All networks, each in two forms: a torch module, and a function on arrays that needs no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from .. import kernels
from .rnn.cells import has_kernel


@dataclass(frozen=True)
class Network:
    """A network. Its two forms are imported when they are needed.

    module (str): The class of the torch module, as "package.file:Class" below `spacy_rnn.modules`.
    predict (Optional[str]): The function that predicts on a CPU with compiled kernels, in the same
        notation. It takes `Weights`, the settings and the arguments of the module, as arrays, and
        returns the module's output. None if there is none.
    supports (Optional[Callable[[Mapping[str, Any]], bool]]): Whether there are kernels for some
        settings. None if there are for all.
    """

    module: str
    predict: str | None = None
    supports: Callable[[Mapping[str, Any]], bool] | None = None

    def get_module_class(self) -> type:
        """RETURNS (Type[nn.Module]): The class of the torch module."""
        found: type = _find(self.module)
        return found

    def choose_predict(self, device: str, settings: Mapping[str, Any]) -> Callable[..., Any] | None:
        """Choose what predicts.

        device (str): "cpu" or "cuda".
        settings (Mapping[str, Any]): The settings of the network.
        RETURNS (Optional[Callable]): The function on arrays. None for the torch module: on a GPU,
            without compiled kernels, or with a cell that has none.
        """
        if self.predict is None or device != "cpu" or kernels.INSTRUCTIONS is None:
            return None
        if self.supports is not None and not self.supports(settings):
            return None
        found: Callable[..., Any] = _find(self.predict)
        return found


@cache
def _find(path: str) -> Any:
    file, name = path.split(":")
    return getattr(import_module(f"{__package__}.{file}"), name)


ENCODER = Network(
    "rnn.encoder_stack:EncoderStack", "rnn.compiled_predict:predict_encoder", has_kernel
)
SELF_ATTENTION = Network(
    "self_attention.encoder:SelfAttentionEncoder", "self_attention.predict:predict_self_attention"
)
LM_STACK = Network("rnn.lm_stack:LMStack", "rnn.compiled_predict:predict_lm", has_kernel)
FEED_FORWARD_LM = Network("lm.feed_forward:FeedForwardLM")
LEXEME_EMBEDDING = Network("embed.lexeme:LexemeEmbedding", "embed.predict_lexemes:predict_lexemes")
CHAR_CNN = Network("embed.char_cnn:CharCNN", "embed.predict_chars:predict_chars")
POOLING = Network("pooling:Pooling", "predict_pooling:predict_pooling")
ADAPTIVE_SOFTMAX = Network("lm.softmax:AdaptiveSoftmax", "lm.predict_softmax:predict_adaptive")
TIED_SOFTMAX = Network("lm.softmax:TiedSoftmax", "lm.predict_softmax:predict_tied")
LM_OBJECTIVE = Network("lm.objective:LMObjective")
SEQ2SEQ = Network("seq2seq.module:Seq2Seq", "seq2seq.predict:predict_strings", has_kernel)
