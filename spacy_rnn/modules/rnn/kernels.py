"""Recurrent layers over rectangles of sequences, with the kernels that torch has for them."""

import platform
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn

from ..cache import get_version
from ..step_major import Steps
from .recurrence import get_product_dtype
from .time_steps import State, is_rectangle

_PLAIN: dict[str, Callable[..., tuple[torch.Tensor, ...]]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}
_HAS_PACKING = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_reorder_mkldnn_rnn_layer_weight"
)
# Number of torch's mode for its LSTM kernels (at::RNN modes, as cuDNN counts them).
_LSTM_MODE = 2
# oneDNN wants weights in an order of its own and sorts them at each call: a tenth of the time
# over a full bucket, three quarters over a sentence of three words. Sorted weights are kept
# here, with the versions of the parameters they were made from. They can be neither copied nor
# pickled, so the layers themselves must not hold them.
_packed: "WeakKeyDictionary[nn.RNNBase, dict[int, tuple[Any, list[torch.Tensor]]]]"
_packed = WeakKeyDictionary()


def run_direction(
    layer: nn.RNNBase,
    direction: int,
    X: torch.Tensor,
    pieces: Sequence[int],
    state: State | None = None,
) -> tuple[torch.Tensor, State]:
    """Run one direction of a layer, from the first step to the last.

    layer (nn.RNNBase): Torch's module with the parameters: LSTM, GRU or RNN, of one layer.
    direction (int): 0 for the forward direction's parameters, 1 for the backward's.
    X (Tensor): The sequences, in the precision to compute in. (steps, rows, nI)
    pieces (Sequence[int]): Into how many steps each to cut them, where the kernel depends on it.
    state (Optional[State]): What the last call returned, to go on from there; None is zero.
    RETURNS (Tuple[Tensor, State]): The hidden states, (steps, rows, hidden), and the state after
        the last step.
    """
    weights = _get_weights(layer, direction)
    if state is None:
        zeros = X.new_zeros(1, X.shape[1], layer.hidden_size)
        # What is added up over time stays in single precision.
        state = (zeros, zeros.float()) if layer.mode == "LSTM" else (zeros,)
    if not _has_onednn(layer.mode, X.device, X.dtype):
        # Arguments: has_biases, num_layers, dropout, train, bidirectional, batch_first.
        plain_options = (True, 1, 0.0, False, False, False)
        first = state if layer.mode == "LSTM" else state[0]
        Y, *last = _PLAIN[layer.mode](X, first, weights, *plain_options)
        return Y, tuple(last)
    packed = _pack(layer, direction, weights, X.dtype)
    outputs, (hidden, cell) = [], state
    for piece in X.split(pieces) if len(pieces) > 1 else (X,):
        Y, hidden, cell, _ = torch.ops.aten.mkldnn_rnn_layer.default(
            piece, *packed, *weights[2:], hidden, cell, *_options(layer.hidden_size, False)
        )
        outputs.append(Y)
    return torch.cat(outputs) if len(outputs) > 1 else outputs[0], (hidden, cell)


def has_rectangle_kernel(mode: str, X: torch.Tensor, steps: Steps) -> bool:
    """RETURNS (bool): Whether `run_rectangle` can run time steps: those of an LSTM on a CPU, of
    sequences that have all of them.
    """
    return is_rectangle(steps) and _has_onednn(mode, X.device, get_product_dtype(X))


def run_rectangle(
    mode: str,
    inputs: torch.Tensor,
    weights: Sequence[torch.Tensor],
    steps: Steps,
    state: State | None = None,
) -> tuple[torch.Tensor, State]:
    """Do what `run_steps` does, gradients included, for a rectangle, in about half the time. For
    batches of many shapes it is slower: torch compiles the kernel for each of them.
    """
    dtype, rows, hidden = get_product_dtype(inputs), steps[0][1], weights[1].shape[2]
    if state is None:
        zeros = inputs.new_zeros(len(inputs), rows, hidden)
        state = (zeros, zeros)
    results = []
    with torch.autocast(inputs.device.type, enabled=False):
        for i, X in enumerate(inputs):
            factors = (part[i].to(dtype) for part in weights)
            first = (state[0][i : i + 1].to(dtype), state[1][i : i + 1])
            Y, *last, _ = torch.ops.aten.mkldnn_rnn_layer.default(
                X.view(len(steps), rows, -1).to(dtype), *factors, *first, *_options(hidden, True)
            )
            results.append((Y.view(1, len(X), hidden).float(), *(part.detach() for part in last)))
        Y, *last = (torch.cat(part).float() for part in zip(*results, strict=True))
    return Y, tuple(last)


def _options(hidden: int, is_train: bool) -> tuple[Any, ...]:
    # Arguments: reverse, batch_sizes, mode, hidden_size, num_layers, has_biases, bidirectional,
    # batch_first, train.
    return (False, [], _LSTM_MODE, hidden, 1, True, False, False, is_train)


def _get_weights(layer: nn.RNNBase, direction: int) -> list[torch.Tensor]:
    # The same as `all_weights`, without the look-up by names that takes longer than some steps.
    weights: list[torch.Tensor] = layer._flat_weights  # type: ignore[assignment]
    return weights[4 * direction : 4 * direction + 4]


def _has_onednn(mode: str, device: torch.device, dtype: torch.dtype) -> bool:
    # Torch falls back to other kernels where any of this does not hold.
    if mode != "LSTM" or device.type != "cpu" or not _HAS_PACKING:
        return False
    is_known = dtype is torch.float32 or (dtype is torch.bfloat16 and has_bfloat16())
    return is_known and bool(torch.backends.mkldnn.enabled)


def get_kernel_dtype(layers: Iterable[nn.Module], X: torch.Tensor) -> torch.dtype:
    """Find the precision to compute in without gradients.

    layers (Iterable[nn.Module]): The layers, all of one kind.
    X (Tensor): Their input.
    RETURNS (torch.dtype): What autocast asks for, if there are kernels for it and the processor
        has instructions for them; else that of the weights.
    """
    dtype, layer = get_product_dtype(X), cast(nn.RNNBase, next(iter(layers)))
    return dtype if _has_onednn(layer.mode, X.device, dtype) else _get_weights(layer, 0)[0].dtype


@lru_cache(maxsize=1)
def has_bfloat16() -> bool:
    """RETURNS (bool): Whether the processor has instructions for bfloat16."""
    # On x86 oneDNN can do without them, more slowly than in single precision.
    has_avx512_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    is_supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return bool(is_supported and (not is_x86 or has_avx512_bf16()))


def _pack(
    layer: nn.RNNBase, direction: int, weights: list[torch.Tensor], dtype: torch.dtype
) -> list[torch.Tensor]:
    versions = (dtype, *map(get_version, weights[:2]))
    cached = _packed.setdefault(layer, {})
    if direction not in cached or cached[direction][0] != versions:
        # Arguments: hidden_size, reverse, has_biases, batch_first.
        packed = torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight(
            *(weight.to(dtype) for weight in weights[:2]), layer.hidden_size, False, True, False
        )
        cached[direction] = (versions, packed)
    return cached[direction][1]
