"""Numbers over words or distances as lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from .figures import make_figure


@dataclass(frozen=True)
class Line:
    """A line of a picture.

    values (ndarray): The numbers. (points,)
    band (Optional[ndarray]): Half the width of a band around it, such as a standard deviation.
        (points,)
    """

    values: numpy.ndarray
    band: numpy.ndarray | None = None


def draw_lines(
    panels: Mapping[str, Mapping[str, Line]],
    path: Path,
    *,
    labels: Sequence[str] = (),
    x_label: str = "",
    y_label: str = "",
    log: bool = False,
) -> None:
    """Draw lines in panels below each other.

    panels (Mapping[str, Mapping[str, Line]]): The lines of each panel, by name.
    path (Path): The picture: .png, .svg or .pdf.
    labels (Sequence[str]): What is below the points. None for their numbers from 0 on.
    x_label, y_label (str): What the axes are.
    log (bool): Whether the vertical axis is logarithmic.
    RAISES (ImportError): If matplotlib is not installed.
    """
    height = 2.6 if log else 1.6
    figure = make_figure((max(5.5, 0.7 * len(labels)), 1.0 + height * len(panels)))
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, lines) in zip(grid, panels.items(), strict=True):
        for i, (name, line) in enumerate(lines.items()):
            x, color = numpy.arange(len(line.values)), f"C{i % 10}"
            axes.plot(x, line.values, color=color, label=name, marker="." if len(labels) else None)
            if line.band is not None:
                sides = line.values - line.band, line.values + line.band
                axes.fill_between(x, *sides, color=color, alpha=0.2, linewidth=0)
        if log:
            axes.set_yscale("log")
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_ylabel(y_label, fontsize=8)
        axes.tick_params(labelsize=8)
    if len(labels):
        grid[-1].set_xticks(range(len(labels)), labels)
    grid[-1].set_xlabel(x_label, fontsize=8)
    if any(len(lines) > 1 for lines in panels.values()):
        grid[0].legend(fontsize=7)
    figure.savefig(path, dpi=150)
