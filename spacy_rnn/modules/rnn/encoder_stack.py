"""A stack of recurrent layers that reads sequences from both ends, or from one."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from . import torch_layers
from .cells import CELLS
from .choose import choose_run_layer
from .dropout import locked_dropout
from .layer import RecurrentLayer, get_weights, make_layer
from .limits import Limits
from .parts import run_parts
from .truncation import run_truncated


class EncoderStack(nn.Module):
    """Recurrent layers on top of each other. The output for a sequence does not depend on the
    rest of the batch.

    nI (int): The width of the input.
    nO (int): The width of the output, of both directions together; even if bidirectional.
    depth (int): The number of layers.
    cell (str): The kind of cell, a key of `CELLS`.
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
        units = nO // 2 if bidirectional else nO
        self.nO = nO
        self.cell = CELLS[cell]
        self.residual = residual
        self.layers = nn.ModuleList(
            make_layer(cell, nO if i else nI, units, bidirectional) for i in range(depth)
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
        """Encode a batch of sequences, in prediction by torch: `predict_encoder` is faster.

        X (Tensor): The tokens of all sequences, one after another. (N, nI)
        lengths (List[int]): The number of tokens of each sequence; N together.
        dropout (float): The rate of locked dropout at the input and after each layer. Applied
            in training only.
        is_train (bool): Whether gradients will be asked for.
        limits (Limits): How much of a sequence is computed at a time.
        RETURNS (Tensor): The last layer's hidden states. (N, nO)
        """
        if not is_train:
            predict = partial(self._predict, limits.max_tokens)
            n_weights = sum(p.numel() for p in self.layers[0].parameters())
            return run_parts(predict, X, lengths, n_weights)
        weights = self.get_weights()
        run_layer = choose_run_layer(self.cell, X, weights[0][0][0])
        run: Callable[..., Any] = run_layer
        if limits.k1 and limits.k2 and max(lengths, default=0) > limits.k2:
            run = partial(run_truncated, run_layer, k1=limits.k1, k2=limits.k2)
        rows = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)).to(X.device)
        X = locked_dropout(X, rows, len(lengths), dropout)
        for i, own in enumerate(weights):
            Y = self.finish_layer(i, X, run(self.cell, own, X, lengths)[0])
            X = locked_dropout(Y, rows, len(lengths), dropout)
        return X

    def get_weights(self) -> list[list[list[torch.Tensor]]]:
        """RETURNS (List[List[List[Tensor]]]): The parameters of each layer, as `get_weights` of
        `layer.py` returns them.
        """
        return [get_weights(cast(RecurrentLayer, layer)) for layer in self.layers]

    def finish_layer(self, i: int, X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): A layer's output, from its input and its hidden states. (N, nO)"""
        if self.residual and X.shape[-1] == Y.shape[-1]:
            Y = Y + X
        return self.norms[i](Y.float()).to(Y.dtype) if self.norms else Y

    def _predict(self, max_tokens: int, X: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        for i, own in enumerate(self.get_weights()):
            Y, _ = torch_layers.run_layer(self.cell, own, X, lengths, max_tokens=max_tokens)
            X = self.finish_layer(i, X, Y)
        return X
