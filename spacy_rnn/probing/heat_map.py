"""Matrices of numbers as text, HTML or a picture."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy

from .figures import make_figure

# From no weight to all of it.
_SHADES = " ·░▒▓█"
_RGB = "9, 163, 213"
# Of a picture, in inches.
MAX_WIDTH, MAX_HEIGHT = 14.0, 100.0
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Attention</title>
<style>
body {{ font: 16px sans-serif; padding: 2rem; }}
table {{ border-collapse: collapse; margin: 0 0 2rem; }}
caption {{ text-align: left; padding-bottom: 0.5rem; }}
td, th {{ width: 1.6em; height: 1.6em; text-align: center; font-weight: normal; }}
</style></head>
<body>
{}
</body>
</html>
"""


@dataclass(frozen=True)
class HeatMap:
    """A matrix of weights from 0 to 1. Without names of columns, it can hold any numbers, for a
    picture only.

    title (str): What it is.
    rows (Sequence[str]): The names of the rows.
    columns (Sequence[str]): The names of the columns, or none.
    weights (ndarray): The numbers; NaN stays white in a picture. (rows, columns)
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    weights: numpy.ndarray

    def to_text(self) -> str:
        """RETURNS (str): Lines with a shade for each weight: the darker, the larger."""
        width = max(map(_get_width, [*self.rows, *self.columns, ""]))
        header = " ".join(_fill(name, width) for name in ["", *self.columns])
        lines = [self.title, header.rstrip()]
        steps = numpy.clip(numpy.ceil(self.weights * (len(_SHADES) - 1) - 0.25), 0, None)
        for name, row in zip(self.rows, steps.astype(int).tolist(), strict=True):
            cells = " ".join(_SHADES[step] * width for step in row)
            lines.append(f"{_fill(name, width)} {cells}".rstrip())
        return "\n".join(lines)

    def to_html(self) -> str:
        """RETURNS (str): A table."""
        cells = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        lines = [f"<tr><th></th>{cells}</tr>"]
        for name, row in zip(self.rows, self.weights.tolist(), strict=True):
            cells = "".join(
                f'<td style="background: rgba({_RGB}, {weight:.2f})" title="{weight:.3f}"></td>'
                for weight in row
            )
            lines.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
        caption = f"<caption>{escape(self.title)}</caption>"
        return f"<table>{caption}\n" + "\n".join(lines) + "\n</table>"


def render_page(maps: Sequence[HeatMap]) -> str:
    """RETURNS (str): A page of HTML with all of some heat maps."""
    return _PAGE.format("\n".join(heat_map.to_html() for heat_map in maps))


def draw_heat_maps(maps: Sequence[HeatMap], path: Path) -> None:
    """Draw heat maps into one picture.

    maps (Sequence[HeatMap]): The heat maps, at least one. Without names of columns, colours are
        symmetric around zero, and a bar says what they mean.
    path (Path): The picture: .png, .svg or .pdf.
    RAISES (ImportError): If matplotlib is not installed.
    RAISES (ValueError): If the picture would be higher than `MAX_HEIGHT`.
    """
    heights = [len(heat_map.rows) + 3 for heat_map in maps]
    height = 0.3 * sum(heights)
    if height > MAX_HEIGHT:
        raise ValueError(
            f"A picture of {len(maps)} heat maps would be {height:.0f} inches high, more than "
            f"{MAX_HEIGHT:.0f}. Write .html, or read a shorter text."
        )
    width = max(heat_map.weights.shape[1] for heat_map in maps) + 2
    size = min(max(0.3 * width, 3), MAX_WIDTH), height
    figure = make_figure(size)
    axes = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, heat_map in zip(axes, maps, strict=True):
        if heat_map.columns:
            axis.imshow(heat_map.weights, cmap="Blues", vmin=0, vmax=1, aspect="equal")
            rotation = 60 if max(map(len, heat_map.columns)) > 2 else 0
            axis.set_xticks(range(len(heat_map.columns)), heat_map.columns, rotation=rotation)
        else:
            largest = numpy.nanmax(numpy.abs(heat_map.weights), initial=0.0)
            colors = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
            # Hundreds of columns have no room for squares.
            image = axis.imshow(heat_map.weights, aspect="auto", interpolation="nearest", **colors)
            figure.colorbar(image, ax=axis)
        axis.set_yticks(range(len(heat_map.rows)), heat_map.rows)
        axis.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        axis.set_title(heat_map.title, loc="left")
    figure.savefig(path, dpi=150)


def _get_width(text: str) -> int:
    """RETURNS (int): How many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def _fill(text: str, width: int) -> str:
    return text + " " * (width - _get_width(text))
