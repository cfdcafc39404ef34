"""A batch that is run again with changed hidden states, from the lowest changed layer on."""

from collections.abc import Mapping

import torch

from .trace import Change, TracedStack

# A layer and a direction of it.
Place = tuple[int, int]


class AblationRun:
    """The layers of a stack, run once over a batch.

    stack (TracedStack): The layers over the batch.
    X (Tensor): The input. (N, nI)
    """

    def __init__(self, stack: TracedStack, X: torch.Tensor):
        self.stack = stack
        with torch.inference_mode():
            self._inputs, traces = stack.run(X)
            self._hidden = [[trace.hidden for trace in layer] for layer in traces]
            # What a layer's input adds to its gates stays when the layer itself is changed.
            self._projected = [
                [stack.project(i, k, self._inputs[i]) for k in range(len(layer))]
                for i, layer in enumerate(traces)
            ]

    @property
    def output(self) -> torch.Tensor:
        """RETURNS (Tensor): The output without changes. (N, nO)"""
        return self._inputs[-1]

    @torch.inference_mode()
    def run(self, changes: Mapping[Place, Change]) -> torch.Tensor:
        """Run the layers from the lowest changed one on.

        changes (Mapping[Tuple[int, int], Callable]): What changes the hidden states of a layer and
            direction at each step: what the next step and the next layer read.
        RETURNS (Tensor): The output. (N, nO)
        """
        first = min((layer for layer, _ in changes), default=len(self._hidden))
        X = self._inputs[first]
        for i in range(first, len(self._hidden)):
            parts = []
            for k, hidden in enumerate(self._hidden[i]):
                change = changes.get((i, k))
                if i == first and change is None:
                    parts.append(hidden)
                    continue
                x = self._projected[i][k] if i == first else self.stack.project(i, k, X)
                parts.append(self.stack.trace(i, k, x, change, hidden_only=True).hidden)
            X = self.stack.finish(i, X, torch.cat(parts, dim=1))
        return X


def silence(units: list[int]) -> Change:
    """RETURNS (Callable): Sets units to zero."""

    def change(hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden.clone()
        hidden[:, units] = 0.0
        return hidden

    return change


def remove_direction(direction: torch.Tensor) -> Change:
    """RETURNS (Callable): Removes the part of hidden states along a vector of length 1, (units,).
    Along the axis of a unit, that sets this unit to zero.
    """

    def change(hidden: torch.Tensor) -> torch.Tensor:
        return hidden - torch.outer(hidden @ direction, direction)

    return change
