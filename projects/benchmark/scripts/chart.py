"""The charts: speeds as bars, accuracy as dots, probabilities against how often they are right."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from tasks import Task

OURS, OTHERS, TEXT = "#09a3d5", "#c3c9d0", "#333a42"
SPEEDS = {"inference": "Inference, words/s", "training": "Training, words/s"}


def draw_chart(rows: list[dict[str, Any]], task: Task, path: Path) -> None:
    """Draw the chart of a task.

    rows (list[dict[str, Any]]): The systems, as make_report has them.
    task (Task): The task.
    path (Path): The PNG file to write.
    """
    n_corpora = len(task.corpora)
    figure = Figure(
        figsize=(9 + 2.6 * n_corpora, 1.4 + 0.42 * len(rows)), dpi=150, layout="constrained"
    )
    ratios = [3, 3, *[2] * n_corpora]
    axes = figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios)
    for axis, (key, title) in zip(axes, SPEEDS.items(), strict=False):
        _draw_bars(axis, [(row["speed"] or {}).get(key) for row in rows], rows)
        axis.set_title(title, fontsize=10, color=TEXT, loc="left")
    for axis, (corpus, title) in zip(axes[2:], task.corpora.items(), strict=True):
        _draw_dots(axis, rows, corpus)
        axis.set_title(f"{task.score_title}, {title} test, %", fontsize=10, color=TEXT, loc="left")
    axes[0].set_yticks(range(len(rows)), [row["title"] for row in rows])
    axes[0].invert_yaxis()
    for label, row in zip(axes[0].get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row["is_ours"] else "normal")
    for axis in axes:
        axis.spines[["top", "right", "left"]].set_visible(False)
        _tidy(axis)
    figure.savefig(path, metadata={"Software": None})


def draw_calibration(title: str, curves: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw a reliability plot (Niculescu-Mizil & Caruana 2005): for each bin of probabilities how
    often those predictions are right, and how many there are.

    title (str): The name of the system.
    curves (dict[str, dict[str, Any]]): For each corpus its "ece", one a seed, and its "bins".
    path (Path): The PNG file to write.
    """
    figure = Figure(figsize=(4.2 * len(curves), 5), dpi=150, layout="constrained")
    axes = figure.subplots(
        2, len(curves), sharex=True, sharey="row", squeeze=False, height_ratios=[3, 1]
    )
    for (corpus, curve), (axis, counts) in zip(curves.items(), axes.T, strict=True):
        bins = curve["bins"]
        used = [each for each in bins if each["n"]]
        axis.plot([0, 1], [0, 1], color=OTHERS, linewidth=1)
        means, right = ([each[key] for each in used] for key in ("mean", "right"))
        axis.plot(means, right, "o-", color=OURS, markersize=6)
        error = sum(curve["ece"]) / len(curve["ece"])
        axis.set_title(
            f"{corpus}\nexpected calibration error {error:.3f}", fontsize=10, color=TEXT, loc="left"
        )
        left = [i / len(bins) for i in range(len(bins))]
        numbers = [each["n"] for each in bins]
        counts.bar(left, numbers, width=0.9 / len(bins), align="edge", color=OTHERS)
        for each in (axis, counts):
            each.xaxis.set_major_formatter(PercentFormatter(1))
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        counts.set_xlabel("Probability of the entity", fontsize=9, color=TEXT)
    axes[0, 0].set_ylabel("How often it is right", fontsize=9, color=TEXT)
    axes[1, 0].set_ylabel("Entities", fontsize=9, color=TEXT)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines["left"].set_color(OTHERS)
        _tidy(axis)
    figure.suptitle(title, fontsize=10, color=TEXT, x=0.01, ha="left", fontweight="bold")
    figure.savefig(path, metadata={"Software": None})


def _tidy(axis: Axes) -> None:
    axis.spines["bottom"].set_color(OTHERS)
    axis.tick_params(length=0, labelsize=9, labelcolor=TEXT)


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


def _draw_dots(axis: Axes, rows: list[dict[str, Any]], corpus: str) -> None:
    """Draw the mean of the seeds as a dot, on a line from the least to the greatest."""
    for i, row in enumerate(rows):
        if corpus not in row["accuracy"]:
            continue
        test = row["accuracy"][corpus]["test"]
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
