"""A matrix of numbers as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from .figures import make_figure


def draw_heat_map(
    values: numpy.ndarray,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    path: Path,
    title: str = "",
) -> None:
    """Draw a matrix. If there are negative numbers, colours are symmetric around zero.

    values (ndarray): The numbers; NaN stays white. (rows, columns)
    row_labels, column_labels (Sequence[str]): What rows and columns are; none to leave them out.
    path (Path): The picture: .png, .svg or .pdf.
    title (str): The title.
    RAISES (ImportError): If matplotlib is not installed.
    """
    n_rows, n_columns = values.shape
    size = min(2 + 0.3 * n_columns, 14), min(1.5 + 0.3 * n_rows, 14)
    figure = make_figure(size)
    axes = figure.subplots()
    colors: dict[str, Any] = {"cmap": "viridis"}
    if values.size and numpy.nanmin(values) < 0:
        largest = numpy.nanmax(numpy.abs(values))
        colors = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    image = axes.imshow(values, aspect="auto", interpolation="nearest", **colors)
    if len(column_labels):
        axes.set_xticks(range(n_columns), column_labels, rotation=60, ha="right", fontsize=8)
    if len(row_labels):
        axes.set_yticks(range(n_rows), row_labels, fontsize=8)
    axes.set_title(title, fontsize=10)
    figure.colorbar(image)
    figure.savefig(path, dpi=150)
