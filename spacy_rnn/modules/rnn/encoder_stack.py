"""A stack of recurrent layers over ragged batches."""

from functools import partial
from typing import cast

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from ...kernels import can_run
from ..step_major import Bucket, StepMajor, make_buckets, permute
from ..workers import run_tasks
from .cells import make_layer
from .dropout import locked_dropout
from .kernels import run_direction
from .long_sequences import Limits, run_pieces, run_truncated
from .recurrence import get_product_dtype, run_layer


class RecurrentStack(nn.Module):
    """Recurrent layers on top of each other. A sequence's output does not depend on what other
    sequences are in the batch.

    nI (int): The width of the input.
    nO (int): The width of the output, that of both directions together; even if bidirectional.
    depth (int): The number of layers.
    cell (str): "lstm", "gru", "elman" (tanh) or "irnn" (rectified, Le et al. 2015).
    bidirectional (bool): Whether each layer reads from both ends.
    residual (bool): Whether to add a layer's input to its output where the widths are equal.
    layer_norm (bool): Whether to normalise each layer's output (Ba et al. 2016).
    """

    def __init__(
        self,
        nI: int,
        nO: int,
        *,
        depth: int = 1,
        cell: str = "lstm",
        bidirectional: bool = True,
        residual: bool = False,
        layer_norm: bool = False,
    ):
        super().__init__()
        hidden = nO // 2 if bidirectional else nO
        self.nO = nO
        self.residual = residual
        self.layers = nn.ModuleList(
            make_layer(cell, nO if i else nI, hidden, bidirectional) for i in range(depth)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(nO) for _ in range(depth if layer_norm else 0))

    def forward(
        self,
        X: torch.Tensor,
        lengths: list[int],
        *,
        dropout: float = 0.0,
        is_train: bool = False,
        limits: Limits = Limits(),  # noqa: B008
    ) -> torch.Tensor:
        """Encode a batch of sequences.

        X (Tensor): The tokens of all sequences, one after another. (N, nI)
        lengths (List[int]): The number of tokens of each sequence; N together.
        dropout (float): The rate of locked dropout at the input and after each layer. Applied
            in training only.
        is_train (bool): Whether gradients will be asked for.
        limits (Limits): How much of a sequence is computed at a time, but for the compiled kernels
            in prediction, which need little memory.
        RETURNS (Tensor): The last layer's hidden states. (N, nO)
        """
        longest = max(lengths, default=0)
        is_truncated = is_train and limits.k2 is not None and longest > limits.k2
        path = choose_path(cast(nn.RNNBase, self.layers[0]), X, is_train, is_truncated)
        if path == "compiled":
            return self._run_compiled(X, lengths, dropout, is_train)
        if not is_train and longest > limits.max_tokens:
            return self._run_long(X, lengths, limits)
        if path == "bucketed":
            return self._run_bucketed(X, lengths)
        layout = StepMajor.from_lengths(lengths, X.device)
        n_rows, dropout = max(layout.sizes, default=0), dropout if is_train else 0.0
        # Without gradients there is nothing to truncate.
        limits = limits if is_train else Limits()
        X = permute(X, layout.order, layout.inverse)
        X = locked_dropout(X, layout.rows, n_rows, dropout)
        for i in range(len(self.layers)):
            Y = self._finish_layer(i, X, self._run_layer(i, X, layout, path, limits))
            X = locked_dropout(Y, layout.rows, n_rows, dropout)
        return permute(X, layout.inverse, layout.order)

    def _run_compiled(
        self, X: torch.Tensor, lengths: list[int], dropout: float, is_train: bool
    ) -> torch.Tensor:
        # Imported late, as it may not have been built.
        from .compiled_prediction import predict_layer
        from .compiled_training import train_layer

        layers = [cast(nn.RNNBase, layer) for layer in self.layers]
        if not is_train:
            half = get_product_dtype(X) is torch.bfloat16
            with torch.no_grad():
                for i, layer in enumerate(layers):
                    Y = predict_layer(layer, X, lengths, repeats=i == 0, half=half)
                    X = self._finish_layer(i, X, Y)
            return X
        rows = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
        X = locked_dropout(X, rows, len(lengths), dropout)
        for i, layer in enumerate(layers):
            Y = self._finish_layer(i, X, train_layer(layer, X, lengths))
            X = locked_dropout(Y, rows, len(lengths), dropout)
        return X

    def _run_layer(
        self, i: int, X: torch.Tensor, layout: StepMajor, path: str, limits: Limits
    ) -> torch.Tensor:
        layer = cast(nn.RNNBase, self.layers[i])
        if limits.k1 is not None and limits.k2 is not None and len(layout.sizes) > limits.k2:
            return run_truncated(layer, X, layout, limits.k1, limits.k2, fused=path == "packed")
        if path == "stepwise":
            return run_layer(layer, X, layout)
        return layer(PackedSequence(X, torch.tensor(layout.sizes)))[0].data

    def _finish_layer(self, i: int, X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
        if self.residual and X.shape[-1] == Y.shape[-1]:
            Y = Y + X
        return self.norms[i](Y.float()).to(Y.dtype) if self.norms else Y

    def _run_long(self, X: torch.Tensor, lengths: list[int], limits: Limits) -> torch.Tensor:
        # Long sequences by themselves, the others together.
        parts = list(X.split(lengths))
        rest = [i for i, length in enumerate(lengths) if length <= limits.max_tokens]
        if any(lengths[i] for i in rest):
            sizes = [lengths[i] for i in rest]
            Y = self(torch.cat([parts[i] for i in rest]), sizes, limits=limits)
            for i, part in zip(rest, Y.split(sizes), strict=True):
                parts[i] = part
        for i in set(range(len(parts))).difference(rest):
            for j, layer in enumerate(self.layers):
                piece = run_pieces(cast(nn.RNNBase, layer), parts[i], limits.max_tokens)
                parts[i] = self._finish_layer(j, parts[i], piece)
        if len(parts) == 1:
            return parts[0]
        return torch.cat([part.view(len(part), self.nO) for part in parts])

    def _run_bucketed(self, X: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        # In half precision, what torch makes of a sequence would depend on the batch.
        X = X.to(next(self.layers.parameters()).dtype)
        # One row more, for what padding is encoded to.
        Y = X.new_empty(len(X) + 1, self.nO)
        # Autocast belongs to a thread, and is off in others.
        with torch.autocast("cpu", enabled=False):
            run_tasks([partial(self._run_bucket, X, bucket, Y) for bucket in make_buckets(lengths)])
        return Y[:-1]

    def _run_bucket(self, X: torch.Tensor, bucket: Bucket, Y: torch.Tensor) -> None:
        cells = X.index_select(0, bucket.gather)
        rectangle = (-1, bucket.rows, X.shape[1])
        for i in range(len(self.layers)):
            layer = cast(nn.RNNBase, self.layers[i])
            halves = [run_direction(layer, 0, cells.view(rectangle), bucket.pieces)[0]]
            if layer.bidirectional:
                # Sequences are turned round each within its own length.
                turned = cells.index_select(0, bucket.mirror).view(rectangle)
                half, _ = run_direction(layer, 1, turned, bucket.pieces)
                halves.append(half.view(len(cells), -1).index_select(0, bucket.mirror))
            out = torch.cat([half.view(len(cells), -1) for half in halves], dim=1)
            cells = self._finish_layer(i, cells, out)
            rectangle = (-1, bucket.rows, self.nO)
        Y.index_copy_(0, bucket.target, cells)


def choose_path(layer: nn.RNNBase, X: torch.Tensor, is_train: bool, is_truncated: bool) -> str:
    """Decide how a stack runs: the one place for it, by measurement (see the benchmark project).

    On a GPU, cuDNN takes packed batches as they are. On a CPU, our compiled kernels are fastest
    where there are some. Of torch's, the fastest without gradients want rectangles; with gradients
    our own steps are faster than torch's.

    layer (nn.RNNBase): One of the stack's layers.
    X (Tensor): Its input.
    is_train (bool): Whether gradients will be asked for.
    is_truncated (bool): Whether they are asked for piece by piece.
    RETURNS (str): "packed", "compiled", "bucketed" or "stepwise".
    """
    if X.device.type != "cpu":
        return "packed"
    if not is_truncated and can_run(layer, X, get_product_dtype(X), steady=not is_train):
        return "compiled"
    return "stepwise" if is_train else "bucketed"
