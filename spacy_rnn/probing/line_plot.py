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
    n_columns: int = 1,
) -> None:
    """Draw lines in panels.

    panels (Mapping[str, Mapping[str, Line]]): The lines of each panel, by name.
    path (Path): The picture: .png, .svg or .pdf.
    labels (Sequence[str]): The labels of points. None for their numbers from 0 on.
    x_label, y_label (str): What the axes are.
    log (bool): Whether the vertical axis is logarithmic.
    n_columns (int): How many panels are beside each other.
    RAISES (ImportError): If matplotlib is not installed.
    """
    n_rows = -(-len(panels) // n_columns)
    width, height = max(5.5 / min(n_columns, 2), 0.7 * len(labels)), 2.6 if log else 1.5
    figure = make_figure((width * n_columns, 1.0 + height * n_rows))
    grid = figure.subplots(n_rows, n_columns, sharex=True, squeeze=False)
    for axes, (title, lines) in zip(grid.flat, panels.items(), strict=False):
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
    for axes in grid[-1]:
        if len(labels):
            axes.set_xticks(range(len(labels)), labels)
        axes.set_xlabel(x_label, fontsize=8)
    if any(len(lines) > 1 for lines in panels.values()):
        grid[0, 0].legend(fontsize=7)
    figure.savefig(path, dpi=150)
