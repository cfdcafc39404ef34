"""Which units does a model need? Each is set to zero, by itself (Lakretz et al. 2019, "The
emergence of number and syntax units in LSTM language models").
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy

from ..layers.torch_arrays import require_torch
from .ablation_table import AblationTable, Row
from .unit_summary import DIRECTIONS


@dataclass(frozen=True, order=True)
class Unit:
    """A unit of recurrent layers.

    layer, direction, number (int): Its place, each from 0.
    """

    layer: int
    direction: int
    number: int

    def __str__(self) -> str:
        return f"{self.layer + 1}:{DIRECTIONS[self.direction]}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Unit":
        """Read the name of a unit.

        text (str): The layer from 1, the direction, which may be left out, and the number of the
            unit: "2:forward:776" or "2:776".
        RETURNS (Unit): The unit.
        RAISES (ValueError): If it is no such name.
        """
        found = re.fullmatch(rf"([1-9]\d*):(?:({'|'.join(DIRECTIONS)}):)?(\d+)", text)
        if found is None:
            raise ValueError(
                f"Unit {text!r} must be LAYER:NUMBER or LAYER:DIRECTION:NUMBER, such as 2:776 or "
                "2:backward:776. Layers count from 1, units from 0."
            )
        layer, direction, number = found.groups(DIRECTIONS[0])
        return cls(int(layer) - 1, DIRECTIONS.index(direction), int(number))


class Task(Protocol):
    """A task that a model is measured on with changed hidden states.

    shape (Tuple[int, int, int]): The number of layers, of directions, and of units in each.
    conditions (List[str]): What it is measured in.
    """

    shape: tuple[int, int, int]
    conditions: list[str]

    def measure(self, changes: Mapping) -> list[numpy.ndarray]:
        """Measure the model.

        changes (Mapping[Tuple[int, int], Callable]): As `AblationRun.run` takes them.
        RETURNS (List[ndarray]): The score of each item of each condition, whose mean is the
            condition's. One item where a score is known as a whole only.
        """
        ...


def ablate(
    task: Task, *, units: Sequence[Unit] = (), n_random: int = 100, seed: int = 0
) -> AblationTable:
    """Set units to zero, and measure what that costs. To tell which units matter, the hidden states
    lose their part along random directions too, in each layer and direction.

    task (Task): What the model is measured on.
    units (Sequence[Unit]): The units: each by itself, and all together. None: all units of all
        layers and directions, each by itself.
    n_random (int): The number of random directions in each layer and direction.
    seed (int): The seed of these.
    RETURNS (AblationTable): The losses.
    RAISES (ValueError): If there is no such unit.
    """
    require_torch("Ablation")
    from ..modules.rnn.ablation import remove_direction, silence

    for unit in units:
        _check(unit, task.shape)
    before = task.measure({})
    places = [(i, k) for i in range(task.shape[0]) for k in range(task.shape[1])]
    chosen = list(units) or [Unit(*place, u) for place in places for u in range(task.shape[2])]
    rows = []
    for unit in chosen:
        scores = task.measure({(unit.layer, unit.direction): silence([unit.number])})
        rows.append(_compare(str(unit), (unit.layer, unit.direction), before, scores))
    if len(units) > 1:
        together: dict[tuple[int, int], list[int]] = {}
        for unit in units:
            together.setdefault((unit.layer, unit.direction), []).append(unit.number)
        scores = task.measure({place: silence(numbers) for place, numbers in together.items()})
        rows.append(_compare("all of these", min(together), before, scores))
    random = []
    used = [place for place in places if any(row.place == place for row in rows)]
    for place, vector in _draw_directions(used, task.shape[2], n_random, seed):
        scores = task.measure({place: remove_direction(vector)})
        random.append(_compare("random direction", place, before, scores))
    accuracies = [float(scores.mean()) for scores in before]
    return AblationTable(task.conditions, accuracies, list(map(len, before)), rows, random)


def _check(unit: Unit, shape: tuple[int, int, int]) -> None:
    found = (unit.layer, unit.direction, unit.number)
    if any(number >= size for number, size in zip(found, shape, strict=True)):
        raise ValueError(
            f"There is no unit {unit}: the model has {shape[0]} layers, {shape[1]} directions and "
            f"units 0 to {shape[2] - 1}."
        )


def _compare(
    name: str,
    place: tuple[int, int],
    before: Sequence[numpy.ndarray],
    after: Sequence[numpy.ndarray],
) -> Row:
    losses = [ours - theirs for ours, theirs in zip(before, after, strict=True)]
    return Row(
        name,
        place,
        [float(loss.mean()) for loss in losses],
        # Of one score alone there is no error to estimate.
        [float(loss.std() / len(loss) ** 0.5) if len(loss) > 1 else 0.0 for loss in losses],
    )


def _draw_directions(
    places: Sequence[tuple[int, int]], units: int, n_random: int, seed: int
) -> Iterator[tuple]:
    """YIELDS (Tuple[Tuple[int, int], Tensor]): A place, and a random vector of length 1."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for place in places:
        for _ in range(n_random):
            vector = torch.randn(units, generator=generator)
            yield place, vector / vector.norm()
