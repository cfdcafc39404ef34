from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, chain, with_array
from thinc.types import Floats2d, Floats3d

from ..checks import check_choice, check_count, check_counts, check_rate
from ..layers.bilm import bilm as run_bilm
from ..layers.bilm_listener import bilm_listener
from ..layers.linear import linear
from ..layers.scalar_mix import scalar_mix
from ..layers.torch_shim import TorchShim, find_layers, get_shim
from ..modules.networks import (
    ADAPTIVE_SOFTMAX,
    CHAR_CNN,
    LEXEME_EMBEDDING,
    LM_STACK,
    TIED_SOFTMAX,
)
from ..modules.rnn.cells import CELLS
from .embed import CONTEXTUAL

DEFAULT_CUTOFFS = [2000, 10000]


@registry.architectures("spacy-rnn.BiLM.v1")
def build_bilm(
    embed: Model[list[Doc], list[Floats2d]],
    width: int = 384,
    hidden: int | None = None,
    depth: int = 2,
    cell: str = "lstm",
    directions: str = "both",
    residual: bool = True,
    softmax: str = "adaptive",
    cutoffs: list[int] = DEFAULT_CUTOFFS,
    dropout: float | None = None,
    grad_clip_norm: float = 5.0,
    grad_clip_value: float = 0.0,
    mixed_precision: bool = False,
    int8: bool = False,
) -> Model[list[Doc], list[Floats3d]]:
    """A recurrent language model that reads from the left, or independently from the left and from
    the right (Peters et al. 2018, "Deep contextualized word representations"), pretrained by
    `spacy rnn pretrain`. It reads any word, by its features, and predicts the words of a
    vocabulary.

    embed (Model[List[Doc], List[Floats2d]]): The embedding layer: spacy-rnn.LexemeEmbed.v1 or
        spacy-rnn.CharCNNEmbed.v1, of the same width.
    width (int): The width of the embeddings, and of each layer's output in one direction.
    hidden (Optional[int]): The number of units of a layer, which a linear map projects to the
        width. None: the width, without a projection.
    depth (int): The number of recurrent layers.
    cell (str): The kind of cell: as in spacy-rnn.RNNEncoder.v1.
    directions (str): "forward", or "both" for forward and backward.
    residual (bool): Whether to add a layer's input to its output, from the second layer on.
    softmax (str): "adaptive" (Grave et al. 2017), in clusters by frequency, or "tied", whose
        weights are the words' embeddings (Press & Wolf 2017).
    cutoffs (List[int]): Where the second and later clusters of an adaptive softmax begin.
    dropout (Optional[float]): The rate of dropout where the model is fine-tuned with a component.
        None follows `[training] dropout`; a number stays fixed.
    grad_clip_norm (float): The largest norm of this layer's gradients together. 0 turns it off.
    grad_clip_value (float): The largest size of a gradient's element. 0 turns it off.
    mixed_precision (bool): Compute in half precision, on a GPU or on a CPU where it is faster.
    int8 (bool): In prediction, multiply 8-bit integers: as in spacy-rnn.RNNEncoder.v1.
    RETURNS (Model[List[Doc], List[Floats3d]]): The model. For each Doc the embeddings, once for
        each direction, and the layers' outputs, the forward half first.
        (depth + 1, tokens, directions x width)
    """
    for name, value in {"width": width, "depth": depth}.items():
        check_count(name, value, 1)
    if hidden is not None:
        check_count("hidden", hidden, 1)
    check_choice("cell", cell, sorted(CELLS))
    check_choice("directions", directions, ["forward", "both"])
    if dropout is not None:
        check_rate("dropout", dropout)
    check_embed("spacy-rnn.BiLM.v1", embed, width)
    settings = {
        "width": width,
        "hidden": hidden,
        "depth": depth,
        "cell": cell,
        "directions": directions,
        "residual": residual,
    }
    shim = TorchShim(
        "bilm",
        LM_STACK,
        settings,
        grad_clip_norm=grad_clip_norm,
        grad_clip_value=grad_clip_value,
        mixed_precision=mixed_precision,
        int8=int8,
    )
    output = hold_softmax(width, softmax, cutoffs, mixed_precision=mixed_precision)
    return run_bilm(embed, output, shim, dropout)


@registry.architectures("spacy-rnn.BiLMListener.v1")
def build_bilm_listener(
    width: int | None = None, dropout: float | None = None, upstream: str = "*"
) -> Model[list[Doc], list[Floats2d]]:
    """Mix the layers of a language model earlier in the pipeline, with learned weights, to
    contextual embeddings.

    width (Optional[int]): The output width of a linear layer after the mix. None: no linear layer.
    dropout (Optional[float]): The rate of dropout of the mix in training. None follows
        `[training] dropout`; a number stays fixed.
    upstream (str): The name of the language model's component. "*" is any.
    RETURNS (Model[List[Doc], List[Floats2d]]): The layer.
    """
    return _mix(bilm_listener(upstream), width, dropout)


@registry.architectures("spacy-rnn.ScalarMix.v1")
def build_scalar_mix(
    bilm: Model[list[Doc], list[Floats3d]], width: int | None = None, dropout: float | None = None
) -> Model[list[Doc], list[Floats2d]]:
    """Mix the layers of a language model that is part of this layer. `replace_listeners` replaces
    spacy-rnn.BiLMListener.v1 by it.

    bilm (Model[List[Doc], List[Floats3d]]): The language model.
    width (Optional[int]): The output width, as above.
    dropout (Optional[float]): The rate of dropout, as above.
    RETURNS (Model[List[Doc], List[Floats2d]]): The layer.
    """
    return _mix(bilm, width, dropout)


def _mix(
    layers: Model[list[Doc], list[Floats3d]], width: int | None, dropout: float | None
) -> Model[list[Doc], list[Floats2d]]:
    if dropout is not None:
        check_rate("dropout", dropout)
    if width is None:
        return chain(layers, scalar_mix(dropout))
    check_count("width", width, 1)
    return chain(layers, scalar_mix(dropout), with_array(linear(width)))


def check_embed(name: str, embed: Model[list[Doc], list[Floats2d]], width: int) -> None:
    """Raise a ValueError unless a language model can read the output of an embedding layer.

    name (str): The architecture of the language model.
    embed (Model[List[Doc], List[Floats2d]]): The embedding layer.
    width (int): The width of the language model.
    """
    found = embed in find_layers(embed, LEXEME_EMBEDDING, CHAR_CNN)
    settings = get_shim(embed).settings if found else {}
    if settings.get("width") != width or settings.get("include_static_vectors"):
        raise ValueError(
            f"Architecture {name} needs an embedding layer spacy-rnn.LexemeEmbed.v1 or "
            f"spacy-rnn.CharCNNEmbed.v1 of width = {width} without static vectors, but "
            f"{embed.name!r} has width = {settings.get('width')} and include_static_vectors = "
            f"{settings.get('include_static_vectors', False)}."
        )
    contextual = CONTEXTUAL.intersection(settings.get("attrs", ()))
    if contextual:
        raise ValueError(
            f"Architecture {name} is pretrained on words by themselves, but its "
            f"embedding layer reads attributes {sorted(contextual)}, which depend on the text: "
            "remove them."
        )


def hold_softmax(width: int, softmax: str, cutoffs: list[int], *, mixed_precision: bool) -> Model:
    """RETURNS (Model): A layer that only stores the softmax of a language model. A ValueError is
    raised if its settings are impossible.
    """
    check_choice("softmax", softmax, ["adaptive", "tied"])
    check_counts("cutoffs", cutoffs, 1)
    if sorted(set(cutoffs)) != list(cutoffs) or not cutoffs:
        raise ValueError(f"Setting cutoffs = {cutoffs} must be rising numbers, at least one.")
    shim = TorchShim(
        "lm_softmax",
        ADAPTIVE_SOFTMAX if softmax == "adaptive" else TIED_SOFTMAX,
        {"width": width, "cutoffs": list(cutoffs)} if softmax == "adaptive" else {},
        mixed_precision=mixed_precision,
    )
    return Model(shim.layer, _refuse, shims=[shim])


def _refuse(model: Model, X: object, is_train: bool) -> tuple[object, object]:
    raise ValueError(f"Layer {model.name!r} is run by the language model around it.")
