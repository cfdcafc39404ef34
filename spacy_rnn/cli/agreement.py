from pathlib import Path

import srsly
import typer
from wasabi import msg

from ..pretraining.find_model import load_scorer
from ..probing.agreement import Accuracy, add_up, draw_accuracies, measure, read_items


def agreement_cli(
    model: str = typer.Argument(..., help="Pipeline with a language model: name or path"),
    data: Path = typer.Argument(..., help="File or directory with the data", exists=True),
    chart: Path | None = typer.Option(None, "--chart", help="PNG file for a chart"),
    output: Path | None = typer.Option(None, "--output", "-o", help="JSON file for the figures"),
    component: str | None = typer.Option(None, "--component", "-c", help="Name of the component"),
    use_gpu: int = typer.Option(-1, "--gpu-id", "-g", help="GPU ID or -1 for CPU"),
) -> None:
    """Print how often a language model, reading from the left, finds the form of a word that agrees
    in number more probable than the one that does not: on the data of Lakretz et al. (2019) and
    Gulordava et al. (2018).
    """
    try:
        tasks = read_items(data)
        _, scorer = load_scorer(model, component, use_gpu)
        results = {task: measure(scorer, items) for task, items in tasks.items()}
    except (ValueError, OSError) as err:
        msg.fail("Can't measure number agreement", str(err), exits=1)
    rows: list[tuple[str, ...]] = []
    for task, conditions in results.items():
        rows.extend(_make_row(task, name, result) for name, result in conditions.items())
        if len(conditions) > 1:
            rows.append(_make_row(task, "all", add_up(list(conditions.values()))))
    header = ("Task", "Condition", "Accuracy", "Items", "Skipped")
    msg.table(rows, header=header, divider=True, aligns=("l", "l", "r", "r", "r"))
    msg.info("Skipped: a form is not in the vocabulary")
    if output is not None:
        figures = {
            task: {name: vars(result) for name, result in conditions.items()}
            for task, conditions in results.items()
        }
        srsly.write_json(output, figures)
        msg.good(f"Saved the figures to {output}")
    if chart is not None:
        if draw_accuracies(results, chart):
            msg.good(f"Drew the chart: {chart}")
        else:
            msg.warn("There is no chart: it needs matplotlib, and an item that was not skipped")


def _make_row(task: str, condition: str, result: Accuracy) -> tuple[str, ...]:
    accuracy = "-" if result.accuracy is None else f"{100 * result.accuracy:.1f}"
    return (task, condition, accuracy, str(result.n_items), str(result.n_skipped))
