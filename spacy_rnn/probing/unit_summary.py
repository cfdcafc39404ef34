"""The states and gates of a few units over words, as tables and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from spacy.language import Language
from spacy.tokens import Doc

from .dynamics import average, get_dynamics
from .line_plot import Line, draw_lines

DIRECTIONS = ["forward", "backward"]


@dataclass(frozen=True)
class UnitSummary:
    """Means over Docs of equal length, in several groups.

    words (List[str]): The words, or "word 1" and so on where Docs differ.
    layer, direction (int): Where the units are.
    units (List[int]): The units.
    means, deviations (Dict[str, Dict[str, ndarray]]): The mean and the standard deviation of each
        value, by group and name. Each (words, units)
    """

    words: list[str]
    layer: int
    direction: int
    units: list[int]
    means: dict[str, dict[str, numpy.ndarray]]
    deviations: dict[str, dict[str, numpy.ndarray]]

    def to_rows(self) -> list[tuple[str, ...]]:
        """RETURNS (List[Tuple[str, ...]]): A header, and a row for each unit, group and word."""
        names = list(next(iter(self.means.values())))
        rows = [("unit", "group", "word", *names)]
        for k, unit in enumerate(self.units):
            for group, values in self.means.items():
                for t, word in enumerate(self.words):
                    numbers = [f"{values[name][t, k]:.3f}" for name in names]
                    rows.append((str(unit), group, word, *numbers))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): The means and deviations, for JSON. Each (words, units)"""
        settings = {
            "words": self.words,
            "layer": self.layer + 1,
            "direction": DIRECTIONS[self.direction],
            "units": self.units,
        }
        numbers = {
            kind: {
                group: {name: array.tolist() for name, array in values.items()}
                for group, values in groups.items()
            }
            for kind, groups in (("means", self.means), ("deviations", self.deviations))
        }
        return {**settings, **numbers}

    def draw(self, path: Path) -> None:
        """Draw a column for each unit and a panel for each value, with a line for each group.

        path (Path): The picture.
        """
        panels = {
            f"unit {unit}, {name}": {
                group: Line(values[name][:, k], self.deviations[group][name][:, k])
                for group, values in self.means.items()
            }
            for name in next(iter(self.means.values()))
            for k, unit in enumerate(self.units)
        }
        draw_lines(panels, path, labels=self.words, n_columns=len(self.units))


def summarize_units(
    nlp: Language,
    groups: Mapping[str, Sequence[Doc]],
    component: str,
    *,
    layer: int = -1,
    direction: int = 0,
    units: Sequence[int] = (),
    n_units: int = 2,
) -> UnitSummary:
    """Average the states and gates of some units over the Docs of each group.

    nlp (Language): The pipeline.
    groups (Mapping[str, Sequence[Doc]]): Docs of equal length, by the name of their group.
    component (str): As in `get_dynamics`.
    layer, direction (int): Where the units are. A negative layer counts from the last.
    units (Sequence[int]): The units. None: those whose mean hidden state differs most between
        groups at some word, or with a single group varies most over words.
    n_units (int): How many to choose then.
    RETURNS (UnitSummary): The means.
    RAISES (ValueError): If there is no such layer, direction or unit, or lengths differ.
    """
    averages = {
        group: average(get_dynamics(nlp, docs, component)) for group, docs in groups.items()
    }
    means = {group: found[0] for group, found in averages.items()}
    shapes = {values["hidden"].shape for values in means.values()}
    if len(shapes) != 1:
        raise ValueError("Groups have texts of different lengths: choose groups of one length.")
    n_layers, n_directions, n_words, width = shapes.pop()
    if not -n_layers <= layer < n_layers or not 0 <= direction < n_directions:
        raise ValueError(
            f"Component {component!r} has {n_layers} layers and {n_directions} directions: choose "
            "among these."
        )
    if not n_words:
        raise ValueError("The text has no words.")
    for unit in units:
        if not 0 <= unit < width:
            raise ValueError(f"There is no unit {unit}: a layer has units 0 to {width - 1}.")
    if not units:
        hidden = numpy.stack([values["hidden"][layer, direction] for values in means.values()])
        differences = hidden.std(axis=0).max(axis=0) if len(hidden) > 1 else hidden[0].std(axis=0)
        units = numpy.argsort(-differences, kind="stable")[:n_units].tolist()

    def take(values: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        return {name: array[layer, direction][:, units] for name, array in values.items()}

    texts = {
        tuple(token.text for token in doc if not token.is_space)
        for docs in groups.values()
        for doc in docs
    }
    is_one = len(texts) == 1 and len(next(iter(texts))) == n_words
    words = list(texts.pop()) if is_one else [f"word {t + 1}" for t in range(n_words)]
    return UnitSummary(
        words,
        layer % n_layers,
        direction,
        list(units),
        {group: take(found[0]) for group, found in averages.items()},
        {group: take(found[1]) for group, found in averages.items()},
    )
