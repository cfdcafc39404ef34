"""Recurrent layers of which each direction reads its own output only: a language model's."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ...kernels import can_run
from ..step_major import Bucket, StepMajor, Steps, make_buckets
from ..workers import run_tasks
from .cells import make_layer
from .dropout import locked_dropout
from .kernels import get_kernel_dtype, has_rectangle_kernel, run_direction, run_rectangle
from .long_sequences import RunSteps, run_fused_steps
from .recurrence import get_product_dtype, run_steps, stack_weights
from .time_steps import State, is_rectangle


@dataclass(frozen=True)
class Readings:
    """Sequences as each direction reads them: a boundary, then the tokens, from the left or from
    the right. A reading has as many positions as its sequence has tokens, and one more.

    sources (Tensor): For each direction and position, the token in the flat batch; one beyond its
        end is the boundary. (directions, N + sequences)
    places (Tensor): For each direction and token, where it is read. (directions, N)
    lengths (List[int]): The number of positions of each reading.
    """

    sources: torch.Tensor
    places: torch.Tensor
    lengths: list[int]

    @classmethod
    def from_lengths(
        cls, lengths: Sequence[int], n_directions: int, device: torch.device
    ) -> "Readings":
        """Lay out sequences of the given lengths.

        lengths (Sequence[int]): The number of tokens of each sequence, N together.
        n_directions (int): 1 is forward only.
        device (torch.device): Where to put the indices.
        RETURNS (Readings): The layout.
        """
        sizes = np.asarray(lengths, dtype=np.int64)
        n_tokens = int(sizes.sum())
        starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
        # Each sequence comes after the boundaries of those before it, and its own.
        n_boundaries = np.repeat(np.arange(1, len(sizes) + 1), sizes)
        tokens = np.arange(n_tokens)
        turned = 2 * starts + np.repeat(sizes, sizes) - 1 - tokens
        places = np.stack([tokens + n_boundaries, turned + n_boundaries][:n_directions])
        sources = np.full((n_directions, n_tokens + len(sizes)), n_tokens)
        np.put_along_axis(sources, places, tokens[None], axis=1)
        indices = [torch.from_numpy(array).to(device) for array in (sources, places)]
        return cls(indices[0], indices[1], (sizes + 1).tolist())


class DirectedStack(nn.Module):
    """Recurrent layers on top of each other, for one direction or two, which never see each other's
    output: at a token, the forward ones know nothing that comes after it and the backward ones
    nothing that comes before (Peters et al. 2018, "Deep contextualized word representations").

    width (int): The width of the input, and of each layer's output in one direction.
    hidden (Optional[int]): The number of units; a linear map projects them to the width. None: as
        many as the width, and no projection.
    depth (int): The number of layers.
    cell (str): "lstm", "gru", "elman" or "irnn".
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
        self.residual = residual
        units = width if hidden is None else hidden
        self.boundary = nn.Parameter(torch.empty(1, width).uniform_(-0.1, 0.1))
        self.layers = nn.ModuleList(
            make_layer(cell, width, units, self.n_directions == 2) for _ in range(depth)
        )
        self.projections = nn.ParameterList(
            nn.init.xavier_uniform_(torch.empty(self.n_directions, units, width))
            for _ in range(depth if hidden is not None else 0)
        )

    def forward(
        self,
        X: torch.Tensor,
        lengths: list[int],
        *,
        dropout: float = 0.0,
        is_train: bool = False,
        memory: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Encode a batch of sequences.

        X (Tensor): The tokens of all sequences, one after another. (N, width)
        lengths (List[int]): The number of tokens of each sequence; N together.
        dropout (float): The rate of locked dropout at the input of each layer, in training.
        is_train (bool): Whether gradients will be asked for.
        memory (Optional[Tensor]): On a CPU, where to put what is predicted, rather than in new
            memory. At least `get_memory_size(N)` numbers.
        RETURNS (Tensor): The input, in each direction's half, and each layer's output. Layers are
            the second dimension, so that a sequence's are together.
            (N, depth + 1, directions x width)
        """
        if X.device.type == "cpu" and not is_train:
            return self._predict(X, lengths, memory)
        readings = Readings.from_lengths(lengths, self.n_directions, X.device)
        outputs = self.read(X, readings, dropout=dropout, is_train=is_train)
        halves = [
            torch.stack([Y[i].index_select(0, readings.places[i]) for Y in outputs], dim=1)
            for i in range(self.n_directions)
        ]
        context_free = X.to(halves[0].dtype).unsqueeze(1)
        return torch.cat([torch.cat([context_free, half], dim=1) for half in halves], dim=2)

    def get_memory_size(self, n_tokens: int) -> int:
        """RETURNS (int): How many numbers of memory it takes to predict that many tokens."""
        # One row more, for boundaries and padding.
        n_rows = n_tokens * (len(self.layers) + 1) * self.n_directions + 1
        return n_rows * self.width

    def _predict(
        self, X: torch.Tensor, lengths: list[int], memory: torch.Tensor | None
    ) -> torch.Tensor:
        # Every layer is written where it belongs at once: the time otherwise goes into memory.
        n_directions, n_layers = self.n_directions, len(self.layers) + 1
        n_rows = len(X) * n_layers * n_directions
        size = self.get_memory_size(len(X))
        Y = (X.new_empty(size) if memory is None else memory[:size]).view(-1, self.width)
        tokens = Y[:-1].view(len(X), n_layers, n_directions, self.width)
        tokens[:, 0] = X.unsqueeze(1)
        layers = [cast(nn.RNNBase, layer) for layer in self.layers]
        dtype = get_product_dtype(X)
        if not self.projections and can_run(layers[0], tokens, dtype):
            # Imported late, as it may not have been built.
            from .compiled_prediction import predict_directed

            half = dtype is torch.bfloat16
            predict_directed(
                layers, self.boundary, tokens, lengths, residual=self.residual, half=half
            )
            return tokens.flatten(2)
        readings = Readings.from_lengths(lengths, self.n_directions, X.device)
        places = torch.arange(n_rows).view(len(X), n_layers, n_directions)
        n_positions = sum(readings.lengths)
        rows = torch.full((len(self.layers), n_directions, n_positions + 1), n_rows)
        for i in range(n_directions):
            rows[:, i, readings.places[i]] = places[:, 1:, i].T
        self._read_buckets(X, readings, Y, rows)
        return tokens.flatten(2)

    def read(
        self,
        X: torch.Tensor,
        readings: Readings,
        *,
        dropout: float = 0.0,
        is_train: bool = False,
    ) -> list[torch.Tensor]:
        """Run all layers over the readings of a batch.

        X (Tensor): The tokens of all sequences, one after another. (N, width)
        readings (Readings): How they are read.
        dropout (float): The rate of locked dropout, in training.
        is_train (bool): Whether gradients will be asked for.
        RETURNS (List[Tensor]): Each layer's output. (directions, N + sequences, width)
        """
        if X.device.type == "cpu" and not is_train:
            shape = (len(self.layers), self.n_directions, sum(readings.lengths) + 1)
            rows = torch.arange(prod(shape)).view(shape)
            Y = X.new_empty(prod(shape), self.width)
            self._read_buckets(X, readings, Y, rows)
            return list(Y.view(*shape, self.width)[:, :, :-1])
        layout = StepMajor.from_lengths(readings.lengths, X.device)
        inputs = self._add_boundary(X)[readings.sources.index_select(1, layout.order)]
        rate = dropout if is_train else 0.0
        outputs, _ = self.run(inputs, layout.get_steps(), layout.rows, dropout=rate)
        return [Y.index_select(1, layout.inverse) for Y in outputs]

    def run(
        self,
        X: torch.Tensor,
        steps: Steps,
        rows: torch.Tensor,
        states: Sequence[State] | None = None,
        *,
        dropout: float = 0.0,
        weight_drop: float = 0.0,
        is_usual_shape: bool = False,
    ) -> tuple[list[torch.Tensor], list[State]]:
        """Run all layers over time steps.

        X (Tensor): The input. (directions, N, width)
        steps (List[Tuple[int, int]]): The first position of each time step, and the one after its
            last.
        rows (Tensor): The number of each position's sequence. (N,)
        states (Optional[Sequence[State]]): What the last call returned, to go on from there; None
            is zero. It gets no gradient.
        dropout (float): The rate of locked dropout at the input of each layer and after the last.
        weight_drop (float): The rate of dropout of recurrent weights (Merity et al. 2018,
            "Regularizing and Optimizing LSTM Language Models").
        is_usual_shape (bool): Whether time steps of this number and these sizes come again and
            again: there are kernels for that, which are compiled for each shape and kept.
        RETURNS (Tuple[List[Tensor], List[State]]): Each layer's output, (directions, N, width), and
            the layers' states after the last step.
        """
        n_rows, kernel = steps[0][1], self._choose_kernel(X, steps, is_usual_shape)
        outputs, last = [], []
        for i in range(len(self.layers)):
            layer = cast(nn.RNNBase, self.layers[i])
            weights = stack_weights(layer)
            weights[1] = F.dropout(weights[1], weight_drop)
            dropped = locked_dropout(X, rows, n_rows, dropout)
            state = None if states is None else states[i]
            Y, state = kernel(layer.mode, dropped, weights, steps, state)
            X = self._finish_layer(i, X, Y)
            outputs.append(X)
            last.append(state)
        outputs[-1] = locked_dropout(X, rows, n_rows, dropout)
        return outputs, last

    def _choose_kernel(self, X: torch.Tensor, steps: Steps, is_usual_shape: bool) -> RunSteps:
        layer = cast(nn.RNNBase, self.layers[0])
        if is_rectangle(steps) and can_run(layer, X, get_product_dtype(X)):
            # Imported late, as it may not have been built.
            from .compiled_training import train_rectangle

            return train_rectangle
        if is_usual_shape and has_rectangle_kernel(layer.mode, X, steps):
            return run_rectangle
        return run_steps if X.device.type == "cpu" else run_fused_steps

    def _finish_layer(
        self, i: int, X: torch.Tensor, Y: torch.Tensor, directions: slice | int = slice(None)
    ) -> torch.Tensor:
        if self.projections:
            Y = torch.matmul(Y, self.projections[i][directions].to(Y.dtype)).to(X.dtype)
        return X + Y if self.residual and i else Y

    def _add_boundary(self, X: torch.Tensor) -> torch.Tensor:
        return torch.cat([X, self.boundary.to(X.dtype)])

    def _read_buckets(
        self, X: torch.Tensor, readings: Readings, Y: torch.Tensor, rows: torch.Tensor
    ) -> None:
        """Write each layer's outputs to rows of Y. (layers, directions, positions + 1), the last
        of them for padding.
        """
        inputs = self._add_boundary(X)
        inputs = inputs.to(get_kernel_dtype(self.layers, inputs))
        tasks = [
            partial(self._read_bucket, inputs, readings, bucket, direction, Y, rows[:, direction])
            for bucket in make_buckets(readings.lengths)
            for direction in range(self.n_directions)
        ]
        # Autocast belongs to a thread: the precision was chosen above for all of them.
        with torch.autocast("cpu", enabled=False):
            run_tasks(tasks)

    def _read_bucket(
        self,
        inputs: torch.Tensor,
        readings: Readings,
        bucket: Bucket,
        direction: int,
        Y: torch.Tensor,
        rows: torch.Tensor,
    ) -> None:
        X = inputs.index_select(0, readings.sources[direction].index_select(0, bucket.gather))
        for i, layer in enumerate(self.layers):
            rectangle = X.view(-1, bucket.rows, X.shape[1])
            H, _ = run_direction(cast(nn.RNNBase, layer), direction, rectangle, bucket.pieces)
            X = self._finish_layer(i, X, H.view(len(X), -1), direction)
            Y.index_copy_(0, rows[i].index_select(0, bucket.target), X.to(Y.dtype))
