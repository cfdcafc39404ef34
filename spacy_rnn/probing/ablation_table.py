"""What ablation costs, as a table and a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from .heat_map import HeatMap, draw_heat_maps
from .unit_summary import DIRECTIONS

# A loss is clearly above another if it is this many standard errors above it.
CLEAR = 2.0


@dataclass(frozen=True)
class Row:
    """What one ablation costs.

    name (str): What was ablated.
    place (Tuple[int, int]): Its layer and direction.
    losses (List[float]): By how much each condition's score falls.
    errors (List[float]): The standard errors of these, over items. 0 where they are not known.
    """

    name: str
    place: tuple[int, int]
    losses: list[float]
    errors: list[float]


@dataclass(frozen=True)
class AblationTable:
    """The losses of all ablations.

    conditions (List[str]): The names of the conditions.
    scores (List[float]): Each condition's score without ablation.
    n_items (List[int]): The number of items of each.
    units (List[Row]): The losses without a unit.
    random (List[Row]): The losses without a random direction.
    """

    conditions: list[str]
    scores: list[float]
    n_items: list[int]
    units: list[Row]
    random: list[Row]

    def get_threshold(self, place: tuple[int, int], condition: int) -> float:
        """RETURNS (float): The largest loss of a random direction in a layer and direction. Minus
        infinity without any.
        """
        losses = [row.losses[condition] for row in self.random if row.place == place]
        return max(losses, default=-numpy.inf)

    def passes(self, row: Row, condition: int, errors: float = 0.0) -> bool:
        """RETURNS (bool): Whether a loss is above the threshold, by so many standard errors. These
        are not known for a single item.
        """
        if errors and self.n_items[condition] == 1:
            return False
        least = row.losses[condition] - errors * row.errors[condition]
        return least > self.get_threshold(row.place, condition)

    def count_passing(self, condition: int, errors: float = 0.0) -> int:
        """RETURNS (int): How many units pass the threshold in a condition."""
        return sum(self.passes(row, condition, errors) for row in self.units)

    def rank(self, n: int | None = None) -> list[Row]:
        """RETURNS (List[Row]): The units by their largest loss in any condition, n or all."""
        return sorted(self.units, key=lambda row: -max(row.losses))[:n]

    def to_rows(self, n: int | None = None) -> list[tuple[str, ...]]:
        """RETURNS (List[Tuple[str, ...]]): A header, the scores without ablation, the thresholds,
        and n units or all, in percent. * passes the threshold, and ** by two standard errors.
        """
        rows = [("Unit", *self.conditions)]
        rows.append(("none: score", *map(_to_points, self.scores)))
        for place in sorted({row.place for row in self.random}):
            found = [self.get_threshold(place, c) for c in range(len(self.conditions))]
            name = f"random, {_name_place(place)}: largest loss"
            rows.append((name, *map(_to_points, found)))
        for row in self.rank(n):
            rows.append((row.name, *(self._format(row, c) for c in range(len(self.conditions)))))
        passing = [self.count_passing(c) for c in range(len(self.conditions))]
        clear = [self.count_passing(c, CLEAR) for c in range(len(self.conditions))]
        numbers = [f"{n} ({m})" for n, m in zip(passing, clear, strict=True)]
        rows.append((f"units above random, of {len(self.units)} (**)", *numbers))
        return rows

    def _format(self, row: Row, condition: int) -> str:
        stars = self.passes(row, condition) + self.passes(row, condition, CLEAR)
        error = f" ± {_to_points(row.errors[condition])}" if row.errors[condition] else ""
        return f"{_to_points(row.losses[condition])}{error}{' ' + '*' * stars if stars else ''}"

    def to_markdown(self, n: int | None = None) -> str:
        """RETURNS (str): `to_rows` as a Markdown table."""
        header, *rows = self.to_rows(n)
        lines = [header, ("---", *("---:" for _ in self.conditions)), *rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): Everything, for JSON. Shares, not percent."""
        return {
            "conditions": self.conditions,
            "scores": self.scores,
            "n_items": self.n_items,
            "units": [vars(row) for row in self.rank()],
            "random": [vars(row) for row in self.random],
            "above_random": [self.count_passing(c) for c in range(len(self.conditions))],
            "clearly_above": [self.count_passing(c, CLEAR) for c in range(len(self.conditions))],
        }

    def draw(self, path: Path) -> None:
        """Draw the losses: a row for each layer, direction and condition, a column for each unit.

        path (Path): The picture.
        """
        places = sorted({row.place for row in self.units})
        groups = [[row for row in self.units if row.place == place] for place in places]
        values = numpy.full((len(places) * len(self.conditions), max(map(len, groups))), numpy.nan)
        labels = []
        for p, (place, rows) in enumerate(zip(places, groups, strict=True)):
            for c, condition in enumerate(self.conditions):
                found = [100 * row.losses[c] for row in rows]
                values[p * len(self.conditions) + c, : len(rows)] = found
                labels.append(f"{_name_place(place)}, {condition}")
        title = "Loss without each unit, in points"
        draw_heat_maps([HeatMap(title, labels, [], values)], path)


def _name_place(place: tuple[int, int]) -> str:
    return f"layer {place[0] + 1} {DIRECTIONS[place[1]]}"


def _to_points(share: float) -> str:
    # Without the sign of a zero.
    return f"{100 * share + 0.0:.2f}".replace("-0.00", "0.00")
