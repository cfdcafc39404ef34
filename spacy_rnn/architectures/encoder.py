from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from ..checks import check_choice, check_count, check_rate
from ..layers.encode import context_encoder
from ..layers.torch_shim import TorchShim
from ..modules.networks import ENCODER
from ..modules.rnn.cells import CELLS
from ..modules.rnn.limits import Limits


@registry.architectures("spacy-rnn.RNNEncoder.v1")
def build_rnn_encoder(
    width: int,
    depth: int = 2,
    cell: str = "lstm",
    bidirectional: bool = True,
    dropout: float | None = None,
    residual: bool = False,
    layer_norm: bool = False,
    grad_clip_norm: float = 5.0,
    grad_clip_value: float = 0.0,
    mixed_precision: bool = False,
    max_tokens_in_memory: int = 10_000,
    bptt_k1: int | None = None,
    bptt_k2: int | None = None,
    int8: bool = False,
) -> Model[list[Floats2d], list[Floats2d]]:
    """Encode context with recurrent layers. Fits wherever a config has an `encode` layer. The
    output for a Doc does not depend on the batch.

    width (int): The output width, even for a bidirectional encoder, which has half as many units in
        each direction. The input width is inferred.
    depth (int): The number of recurrent layers.
    cell (str): The kind of cell: "lstm", "lstm_peephole", "lstm_coupled" (its input gate is one
        minus the forget gate), "gru", "elman" (a plain network with tanh) or "irnn"
        (one with rectified units that starts as the identity).
    bidirectional (bool): Whether to read from both ends, or from left to right only.
    dropout (Optional[float]): The rate of dropout at the input and after each layer, with one
        mask for all tokens of a Doc. None follows `[training] dropout`; a number stays fixed.
    residual (bool): Whether to add a layer's input to its output where their widths are equal.
    layer_norm (bool): Whether to normalise the output of each layer.
    grad_clip_norm (float): The largest norm of this layer's gradients together. 0 turns it off.
    grad_clip_value (float): The largest size of a gradient's element. 0 turns it off.
    mixed_precision (bool): Compute in half precision: for wide layers on a GPU, or in training on
        a CPU where the compiled kernels are faster in bfloat16 (AMD with AVX512-BF16). Other CPUs
        compute in single precision.
    max_tokens_in_memory (int): In prediction by torch, longer Docs are computed layer by layer in
        pieces of this many tokens, with the same result, to bound the memory between input and
        output. The compiled kernels need no such bound.
    bptt_k1 (Optional[int]): In training, Docs longer than `bptt_k2` are computed in pieces of this
        many tokens: truncated backpropagation through time, with the state carried over. To bound
        memory, activations are kept for `bptt_k2` tokens and recomputed. None trains on whole Docs.
    bptt_k2 (Optional[int]): The number of tokens that the gradient of a piece goes back from its
        end, a multiple of `bptt_k1`. None is `bptt_k1`.
    int8 (bool): In prediction, multiply 8-bit integers (dynamic quantization): two to three times
        as fast, on a CPU with AVX512-VNNI. Elsewhere this changes nothing. Training is the same.
    RETURNS (Model[List[Floats2d], List[Floats2d]]): The encoder.
    """
    for name, value in {"width": width, "depth": depth}.items():
        check_count(name, value, 1)
    check_choice("cell", cell, sorted(CELLS))
    if dropout is not None:
        check_rate("dropout", dropout)
    check_count("max_tokens_in_memory", max_tokens_in_memory, 1)
    bptt_k2 = bptt_k1 if bptt_k2 is None else bptt_k2
    check_truncation(bptt_k1, bptt_k2)
    if bidirectional and width % 2:
        raise ValueError(
            f"Setting width = {width} is odd, but a bidirectional encoder has half of it in each "
            "direction: choose an even width, or bidirectional = false."
        )
    shim = TorchShim(
        "rnn_encoder",
        ENCODER,
        {
            "nO": width,
            "depth": depth,
            "cell": cell,
            "bidirectional": bidirectional,
            "residual": residual,
            "layer_norm": layer_norm,
        },
        grad_clip_norm=grad_clip_norm,
        grad_clip_value=grad_clip_value,
        mixed_precision=mixed_precision,
        int8=int8,
    )
    limits = Limits(max_tokens_in_memory, bptt_k1, bptt_k2)
    return context_encoder(shim, width, dropout, {"limits": limits})


def check_truncation(k1: int | None, k2: int | None) -> None:
    """Raise a ValueError unless the gradient of a piece goes back a whole number of pieces."""
    if k1 is not None:
        check_count("bptt_k1", k1, 1)
    if k2 is not None:
        check_count("bptt_k2", k2, 1)
    if k2 is not None and (k1 is None or k2 % k1):
        raise ValueError(
            f"Setting bptt_k2 = {k2} must be a multiple of bptt_k1 = {k1}: the gradient of each "
            "piece goes back a whole number of pieces, its own included."
        )
