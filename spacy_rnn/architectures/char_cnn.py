from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from ..checks import check_count, check_counts
from ..layers.char_cnn import char_cnn_embed
from ..layers.torch_shim import TorchShim
from ..modules.networks import CHAR_CNN

DEFAULT_FILTERS = [[1, 32], [2, 32], [3, 64], [4, 128], [5, 128]]


@registry.architectures("spacy-rnn.CharCNNEmbed.v1")
def build_char_cnn_embed(
    width: int,
    char_width: int = 16,
    filters: list[list[int]] = DEFAULT_FILTERS,
    highway_layers: int = 1,
    max_chars: int = 50,
    grad_clip_norm: float = 5.0,
    grad_clip_value: float = 0.0,
    mixed_precision: bool = False,
) -> Model[list[Doc], list[Floats2d]]:
    """Embed tokens by their characters, as ELMo does: convolutions, max pooling, highway layers
    (Kim et al. 2016, "Character-Aware Neural Language Models"). Slower than
    spacy-rnn.LexemeEmbed.v1.

    width (int): The output width.
    char_width (int): The width of a character's embedding.
    filters (List[List[int]]): For each convolution, its width in characters and its number of
        filters.
    highway_layers (int): The number of highway layers.
    max_chars (int): The number of characters that are read of a longer token, from both ends.
    grad_clip_norm (float): The largest norm of this layer's gradients together. 0 turns it off.
    grad_clip_value (float): The largest size of a gradient's element. 0 turns it off.
    mixed_precision (bool): Compute in half precision, for speed on a GPU.
    RETURNS (Model[List[Doc], List[Floats2d]]): The embedding layer.
    """
    for name, value in {"width": width, "char_width": char_width}.items():
        check_count(name, value, 1)
    check_count("highway_layers", highway_layers, 0)
    check_count("max_chars", max_chars, 2)
    if not filters or any(len(pair) != 2 for pair in filters):
        raise ValueError(
            f"Setting filters = {filters} must be pairs of numbers, at least one: how many "
            "characters a convolution sees, and how many filters it has."
        )
    check_counts("filters", [number for pair in filters for number in pair], 1)
    shim = TorchShim(
        "char_cnn_embed",
        CHAR_CNN,
        {
            "width": width,
            "char_width": char_width,
            "filters": [list(pair) for pair in filters],
            "highway_layers": highway_layers,
        },
        layer_settings={"max_chars": max_chars},
        grad_clip_norm=grad_clip_norm,
        grad_clip_value=grad_clip_value,
        mixed_precision=mixed_precision,
    )
    return char_cnn_embed(shim, width)
