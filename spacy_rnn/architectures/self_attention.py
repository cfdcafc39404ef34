from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from ..checks import check_choice, check_count, check_rate
from ..layers.encode import context_encoder
from ..layers.torch_shim import TorchShim
from ..modules.networks import SELF_ATTENTION
from ..modules.self_attention.positions import POSITIONS


@registry.architectures("spacy-rnn.SelfAttentionEncoder.v1")
def build_self_attention_encoder(
    width: int,
    depth: int = 2,
    heads: int = 4,
    hidden_width: int | None = None,
    positions: str = "rotary",
    window: int = 128,
    dropout: float | None = None,
    grad_clip_norm: float = 5.0,
    grad_clip_value: float = 0.0,
    mixed_precision: bool = False,
) -> Model[list[Floats2d], list[Floats2d]]:
    """Encode context with self-attention layers, as a transformer does (Vaswani et al. 2017,
    "Attention Is All You Need"), each on its normalised input. Fits wherever a config has an
    `encode` layer. The output for a Doc does not depend on the batch.

    width (int): The output width. The input width is inferred.
    depth (int): The number of layers, each with multi-head self-attention and a feed-forward
        network.
    heads (int): The number of attention heads, a divisor of the width.
    hidden_width (Optional[int]): The width of the hidden layer of feed-forward networks. None is
        four times the width.
    positions (str): What tells tokens' positions: "rotary" (Su et al. 2021), by which attention
        depends on distance, or "sinusoidal" (Vaswani et al. 2017), added to the input.
    window (int): How many tokens a token reads in each direction. Memory grows with the number of
        tokens times this.
    dropout (Optional[float]): The rate of dropout of the input and of what each attention and
        feed-forward network adds. None follows `[training] dropout`; a number stays fixed.
    grad_clip_norm (float): The largest norm of this layer's gradients together. 0 turns it off.
    grad_clip_value (float): The largest size of a gradient's element. 0 turns it off.
    mixed_precision (bool): Compute in half precision where it is faster, on a GPU. A CPU predicts
        in single precision.
    RETURNS (Model[List[Floats2d], List[Floats2d]]): The encoder.
    """
    for name, value in {"width": width, "depth": depth, "heads": heads, "window": window}.items():
        check_count(name, value, 1)
    hidden_width = 4 * width if hidden_width is None else hidden_width
    check_count("hidden_width", hidden_width, 1)
    check_choice("positions", positions, POSITIONS)
    if dropout is not None:
        check_rate("dropout", dropout)
    if width % heads or width // heads % 2:
        raise ValueError(
            f"Setting width = {width} can't be divided into heads = {heads} of an even width: "
            f"choose a multiple of {2 * heads}."
        )
    settings = {
        "nO": width,
        "depth": depth,
        "heads": heads,
        "hidden_width": hidden_width,
        "positions": positions,
        "window": window,
    }
    shim = TorchShim(
        "self_attention_encoder",
        SELF_ATTENTION,
        settings,
        grad_clip_norm=grad_clip_norm,
        grad_clip_value=grad_clip_value,
        mixed_precision=mixed_precision,
    )
    return context_encoder(shim, width, dropout, {})
