"""The recurrent layers of a language model, whose directions never see each other's output."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from . import torch_layers
from .cells import CELLS, State
from .choose import choose_run_layer
from .dropout import locked_dropout
from .layer import RecurrentLayer, get_weights, make_layer
from .parts import run_parts


class LMStack(nn.Module):
    """Recurrent layers on top of each other, for one direction or two, which never see each other's
    output: at a token, the forward ones know nothing that comes after it and the backward ones
    nothing that comes before (Peters et al. 2018, "Deep contextualized word representations").

    width (int): The width of the input, and of each layer's output in one direction.
    hidden (Optional[int]): The number of units; a linear map projects them to the width. None: as
        many as the width, and no projection.
    depth (int): The number of layers.
    cell (str): The kind of cell, a key of `CELLS`.
    directions (str): "forward" or "both".
    residual (bool): Whether to add a layer's input to its output, from the second layer on.
    """

    def __init__(
        self,
        width: int,
        *,
        hidden: int | None = None,
        depth: int = 2,
        cell: str = "lstm",
        directions: str = "both",
        residual: bool = True,
    ):
        super().__init__()
        self.n_directions = 2 if directions == "both" else 1
        self.width = width
        self.units = width if hidden is None else hidden
        self.cell = CELLS[cell]
        self.residual = residual
        self.boundary = nn.Parameter(torch.empty(1, width).uniform_(-0.1, 0.1))
        self.layers = nn.ModuleList(
            make_layer(cell, width, self.units, self.n_directions == 2) for _ in range(depth)
        )
        self.projections = nn.ParameterList(
            nn.init.xavier_uniform_(torch.empty(self.n_directions, self.units, width))
            for _ in range(depth if hidden is not None else 0)
        )

    def forward(
        self,
        X: torch.Tensor,
        lengths: list[int],
        *,
        dropout: float = 0.0,
        is_train: bool = False,
        with_boundary: bool = False,
    ) -> torch.Tensor:
        """Encode a batch of sequences. Each direction reads a boundary first.

        X (Tensor): The tokens of all sequences, one after another. (N, width)
        lengths (List[int]): The number of tokens of each sequence; N together.
        dropout (float): The rate of locked dropout at the input of each layer, in training.
        is_train (bool): Whether gradients will be asked for.
        with_boundary (bool): In prediction, whether to append a row for the boundary that is read
            first.
        RETURNS (Tensor): The input, for each direction, and each layer's output. Layers are the
            second dimension, so that a sequence's are together. (N, depth + 1, directions x width),
            or (N + 1, ...) with the boundary.
        """
        if not is_train:
            outputs, boundary = self.predict(X, lengths)
            if with_boundary:
                outputs = torch.cat([outputs, boundary.to(outputs.dtype).unsqueeze(0)])
            return outputs.flatten(2)
        sizes = np.asarray(lengths, dtype=np.int64)
        tokens, numbers = np.arange(len(X)), np.repeat(np.arange(len(sizes)), sizes)
        # A boundary before each sequence for the forward direction, after it for the backward one.
        places = [tokens + numbers + 1, tokens + numbers][: self.n_directions]
        sources = np.full((len(places), len(X) + len(sizes)), len(X))
        for source, place in zip(sources, places, strict=True):
            source[place] = tokens
        read = torch.cat([X, self.boundary.to(X.dtype)])
        inputs = read[torch.from_numpy(sources.T.copy()).to(X.device)].flatten(1)
        layers, _ = self.run(inputs, (sizes + 1).tolist(), dropout=dropout)
        halves = [
            torch.stack([Y[place, i * self.width : (i + 1) * self.width] for Y in layers], dim=1)
            for i, place in enumerate(torch.from_numpy(part).to(X.device) for part in places)
        ]
        context_free = X.to(halves[0].dtype).unsqueeze(1)
        return torch.cat([torch.cat([context_free, half], dim=1) for half in halves], dim=2)

    def predict(self, X: torch.Tensor, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode a batch of sequences without gradients, by torch: `predict_lm` is faster.

        X, lengths: As in `forward`.
        RETURNS (Tuple[Tensor, Tensor]): The input and each layer's output, (N, depth + 1,
            directions, width), and the same at the boundary that is read first, (depth + 1,
            directions, width).
        """
        shape = len(X), len(self.layers), self.n_directions, self.width
        x, states = self.boundary.repeat(1, self.n_directions), []
        boundary = [x.view(self.n_directions, self.width)]
        for i, own in enumerate(self.get_weights()):
            H, state = torch_layers.run_layer(self.cell, own, x, [1])
            x = self._finish_layer(i, x, H)
            boundary.append(x.view(self.n_directions, self.width))
            states.append(state)
        n_weights = sum(p.numel() for layer in self.layers for p in layer.parameters())
        outputs = run_parts(partial(self._predict, states), X, lengths, n_weights).view(shape)
        context_free = X[:, None, None].expand(-1, 1, self.n_directions, -1)
        return torch.cat([context_free, outputs], dim=1), torch.stack(
            [part.to(boundary[-1].dtype) for part in boundary]
        )

    def _predict(self, states: list[State], X: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """RETURNS (Tensor): Each layer's output. (N, depth x directions x width)"""
        X, outputs = X.repeat(1, self.n_directions), []
        for i, own in enumerate(self.get_weights()):
            state = tuple(part.expand(-1, len(lengths), -1) for part in states[i])
            H, _ = torch_layers.run_layer(self.cell, own, X, lengths, state)
            X = self._finish_layer(i, X, H)
            outputs.append(X)
        return torch.cat(outputs, dim=1)

    def run(
        self,
        X: torch.Tensor,
        lengths: Sequence[int],
        states: Sequence[State] | None = None,
        *,
        dropout: float = 0.0,
        weight_drop: float = 0.0,
    ) -> tuple[list[torch.Tensor], list[State]]:
        """Run all layers, for gradients. The backward direction reads each sequence from its end.

        X (Tensor): What each direction reads, beside each other. (N, directions x width)
        lengths (Sequence[int]): The number of positions of each sequence, N together.
        states (Optional[Sequence[State]]): The layers' states before, as the last call returned
            them; None is zero. They get no gradient.
        dropout (float): The rate of locked dropout at the input of each layer and after the last.
        weight_drop (float): The rate of dropout of recurrent weights (Merity et al. 2018,
            "Regularizing and Optimizing LSTM Language Models").
        RETURNS (Tuple[List[Tensor], List[State]]): Each layer's output, (N, directions x width),
            and the layers' states after the last position.
        """
        run_layer = choose_run_layer(self.cell, X, self.boundary)
        rows = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)).to(X.device)
        outputs, last = [], []
        for i, own in enumerate(self.get_weights()):
            if weight_drop:
                own = [[w, F.dropout(u, weight_drop), *rest] for w, u, *rest in own]
            dropped = locked_dropout(X, rows, len(lengths), dropout)
            state = None if states is None else states[i]
            H, state = run_layer(self.cell, own, dropped, lengths, state)
            X = self._finish_layer(i, X, H)
            outputs.append(X)
            last.append(state)
        outputs[-1] = locked_dropout(X, rows, len(lengths), dropout)
        return outputs, last

    def get_weights(self) -> list[list[list[torch.Tensor]]]:
        """RETURNS (List[List[List[Tensor]]]): The parameters of each layer, as `get_weights` of
        `layer.py` returns them.
        """
        return [get_weights(cast(RecurrentLayer, layer)) for layer in self.layers]

    def _finish_layer(self, i: int, X: torch.Tensor, H: torch.Tensor) -> torch.Tensor:
        if self.projections:
            projection = self.projections[i].to(H.dtype)
            H = H.view(len(H), self.n_directions, self.units).transpose(0, 1)
            H = torch.matmul(H, projection).transpose(0, 1).flatten(1).to(X.dtype)
        return X + H if self.residual and i else H
