from pathlib import Path

import srsly
import typer
from wasabi import msg

from ..pretraining.find_model import load_scorer
from ..probing.agreement import Accuracy, draw_accuracies, measure, read_items
from ._util import ComponentOpt, GpuOpt, ModelArg, show_errors


def agreement_cli(
    model: ModelArg,
    data: Path = typer.Argument(..., help="File or directory with the data", exists=True),
    chart: Path | None = typer.Option(None, "--chart", help="PNG file for a chart"),
    output: Path | None = typer.Option(None, "--output", "-o", help="JSON file for the results"),
    component: ComponentOpt = None,
    use_gpu: GpuOpt = -1,
) -> None:
    """Print how often a left-to-right language model prefers the word form that agrees in number,
    on the data of Lakretz et al. (2019) and Gulordava et al. (2018).
    """
    with show_errors("Can't measure number agreement"):
        tasks = read_items(data)
        _, scorer = load_scorer(model, component, use_gpu)
        results = {task: measure(scorer, items) for task, items in tasks.items()}
    rows = []
    for task, conditions in results.items():
        total = {"all": sum(conditions.values(), Accuracy())} if len(conditions) > 1 else {}
        for name, result in {**conditions, **total}.items():
            accuracy = "-" if result.accuracy is None else f"{100 * result.accuracy:.1f}"
            rows.append((task, name, accuracy, result.n_items, result.n_skipped))
    header = ("Task", "Condition", "Accuracy", "Items", "Skipped")
    msg.table(rows, header=header, divider=True, aligns=("l", "l", "r", "r", "r"))
    msg.info("Skipped: one of the two forms is not in the vocabulary")
    if output is not None:
        figures = {
            task: {name: vars(result) for name, result in conditions.items()}
            for task, conditions in results.items()
        }
        srsly.write_json(output, figures)
        msg.good(f"Saved the results to {output}")
    if chart is not None:
        if draw_accuracies(results, chart):
            msg.good(f"Saved the chart to {chart}")
        else:
            msg.warn("No chart: it needs matplotlib, and an item that was not skipped")
