"""The chart: speeds as bars, accuracy as dots."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

OURS, OTHERS, TEXT = "#09a3d5", "#c3c9d0", "#333a42"
SPEEDS = {"inference": "Inference, words/s", "training": "Training, words/s"}


def draw_chart(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the chart.

    rows (list[dict[str, Any]]): The systems, as make_report has them.
    path (Path): The PNG file to write.
    """
    figure = Figure(figsize=(11, 1.4 + 0.42 * len(rows)), dpi=150, layout="constrained")
    axes = figure.subplots(1, 3, sharey=True, width_ratios=[3, 3, 2])
    for axis, (key, title) in zip(axes, SPEEDS.items(), strict=False):
        _draw_bars(axis, [(row["speed"] or {}).get(key) for row in rows], rows)
        axis.set_title(title, fontsize=10, color=TEXT, loc="left")
    _draw_dots(axes[2], rows)
    axes[2].set_title("XPOS accuracy on test, %", fontsize=10, color=TEXT, loc="left")
    axes[0].set_yticks(range(len(rows)), [row["title"] for row in rows])
    axes[0].invert_yaxis()
    for label, row in zip(axes[0].get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row["is_ours"] else "normal")
    for axis in axes:
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.spines["bottom"].set_color(OTHERS)
        axis.tick_params(length=0, labelsize=9, labelcolor=TEXT)
    figure.savefig(path, metadata={"Software": None})


def _color(row: dict[str, Any]) -> str:
    return OURS if row["is_ours"] else OTHERS


def _draw_bars(axis: Axes, values: list[float | None], rows: list[dict[str, Any]]) -> None:
    widths = [value or 0 for value in values]
    bars = axis.barh(range(len(rows)), widths, height=0.65, color=[_color(row) for row in rows])
    labels = ["not timed" if value is None else f"{value:,.0f}" for value in values]
    axis.bar_label(bars, labels, padding=4, fontsize=9, color=TEXT)
    axis.set_xlim(0, 1.25 * max(*widths, 1))
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:,.0f}k"))


def _draw_dots(axis: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw the mean of the seeds as a dot, on a line from the least to the greatest."""
    for i, row in enumerate(rows):
        if row["accuracy"] is None:
            continue
        test = row["accuracy"]["test"]
        color = OURS if row["is_ours"] else "#8a929b"
        axis.plot([test["min"], test["max"]], [i, i], color=color, linewidth=2)
        axis.plot(test["mean"], i, "o", color=color, markersize=8)
        axis.annotate(
            f"{test['mean']:.2f}",
            (test["max"], i),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=TEXT,
        )
    axis.margins(x=0.3)
    left, right = axis.get_xlim()
    axis.set_xlim(left, right + 0.3 * (right - left))
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.grid(axis="x", color=OTHERS, linewidth=0.5, alpha=0.6)
    axis.set_axisbelow(True)
