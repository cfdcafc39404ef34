"""The losses of a component that writes strings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from thinc.api import Model

from ..layers.seq2seq import Pairs, get_alphabet
from ..modules.seq2seq.edit_scripts import make_script
from .flat_loss import compute_flat_loss
from .string_table import Key

# The label of all strings that no edit script of the list makes.
OTHER = 0
# Into how many batches the decoder's words are divided. More do not train faster.
LENGTH_GROUPS = 3


@dataclass
class Batch:
    """Tokens to learn from.

    X (Floats2d): Their vectors. (N, width)
    tags (Floats2d): 1 for each of their tags, 0 for the others. (N, tags)
    keys (List[Tuple[str, str, str]]): Their strings, parts of speech and features.
    targets (List[str]): The strings to write.
    """

    X: Any
    tags: Any
    keys: list[Key]
    targets: list[str]


def compute_edit_loss(
    layer: Model, batch: Batch, edits: Sequence[str], smoothing: float
) -> tuple[float, Any]:
    """RETURNS (Tuple[float, Floats2d]): The loss of edit scripts and its gradient by the vectors.
    The gradients of the layer's parameters are added up.
    """
    numbers = {edit: 1 + i for i, edit in enumerate(edits)}
    truths = [
        [numbers.get(make_script(key[0], target), OTHER)]
        for key, target in zip(batch.keys, batch.targets, strict=True)
    ]
    probs, backprop = layer.begin_update(layer.ops.xp.hstack([batch.X, batch.tags]))
    sizes = [1 + len(edits)]
    loss, (gradient,) = compute_flat_loss(
        layer.ops, [probs], numpy.asarray(truths), sizes, smoothing
    )
    return loss, backprop(gradient)[:, : batch.X.shape[1]]


def compute_decoder_loss(
    layer: Model, batch: Batch, max_chars: int, sampling: float, smoothing: float
) -> tuple[float, Any]:
    """RETURNS (Tuple[float, Floats2d]): The loss of the decoder, without long strings, and its
    gradient by the vectors. The gradients of the layer's parameters are added up.
    """
    alphabet = get_alphabet(layer)
    rows = [
        i
        for i, (key, target) in enumerate(zip(batch.keys, batch.targets, strict=True))
        if max(len(key[0]), len(target)) <= max_chars and alphabet.can_write(key[0], target)
    ]
    # Of similar length, as attention needs padding, and each of torch's steps back clears the
    # gradient of all.
    rows.sort(key=lambda i: max(len(batch.keys[i][0]), len(batch.targets[i])))
    dX, loss = layer.ops.xp.zeros_like(batch.X), 0.0
    size = -(-len(rows) // LENGTH_GROUPS)
    for begin in range(0, len(rows), max(size, 1)):
        part = rows[begin : begin + size]
        words, targets = [batch.keys[i][0] for i in part], [batch.targets[i] for i in part]
        logs, backprop = layer.begin_update(
            Pairs(batch.X[part], batch.tags[part], words, targets, sampling, smoothing)
        )
        dX[part] = backprop(layer.ops.xp.full_like(logs, -1.0))
        loss -= float(logs.sum())
    return loss, dX
