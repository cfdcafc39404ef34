import time
from pathlib import Path

import spacy
import srsly
import typer
from spacy.cli._util import setup_gpu
from spacy.training import Corpus
from wasabi import msg

from ..pretraining.find_model import load_scorer
from ..probing.ablation import Task, Unit, ablate
from ..probing.ablation_tasks import AgreementTask, ScoreTask
from ..probing.agreement import read_task
from ._util import GpuOpt, PipelineArg, RecurrentOpt, TaskOpt, show_errors


def ablate_cli(
    model: PipelineArg,
    data: Path = typer.Argument(
        ..., help="Number agreement data, or .spacy file with --scores", exists=True
    ),
    component: RecurrentOpt = None,
    task_name: TaskOpt = None,
    scores: list[str] = typer.Option(
        [], "--scores", "-m", help="Score of the pipeline, such as tag_acc; repeat for several"
    ),
    units: list[str] = typer.Option(
        [], "--unit", "-u", help="LAYER:NUMBER or LAYER:DIRECTION:NUMBER; repeat for several"
    ),
    n_random: int = typer.Option(100, "--random", "-r", min=0, help="Random directions per layer"),
    seed: int = typer.Option(0, "--seed", "-s", help="The same seed gives the same directions"),
    n_shown: int = typer.Option(10, "--n-shown", "-n", min=0, help="How many units to print"),
    table: Path | None = typer.Option(None, "--table", help="Markdown file for the table"),
    output: Path | None = typer.Option(None, "--output", "-o", help="JSON file for the results"),
    chart: Path | None = typer.Option(None, "--chart", help="PNG, SVG or PDF file for a heat map"),
    use_gpu: GpuOpt = -1,
) -> None:
    """Set each unit of a recurrent model to zero, and print what that costs: in number agreement of
    a language model, or in the scores of a pipeline on a .spacy file.
    """
    with show_errors("Can't ablate the model"):
        chosen = [Unit.parse(unit) for unit in units]
        task: Task
        if scores:
            if component is None:
                raise ValueError("Name the component with the encoder by --component.")
            setup_gpu(use_gpu, silent=True)
            nlp = spacy.load(model)
            task = ScoreTask(nlp, Corpus(data)(nlp), component, scores)
        else:
            _, scorer = load_scorer(model, component, use_gpu)
            task = AgreementTask(scorer, read_task(data, task_name))
        start = time.perf_counter()
        found = ablate(task, units=chosen, n_random=n_random, seed=seed)
        minutes = (time.perf_counter() - start) / 60
        header, *rows = found.to_rows(n_shown)
        msg.table(rows, header=header, divider=True, aligns=["l"] + ["r"] * (len(header) - 1))
        msg.info(
            f"{len(found.units)} ablations in {minutes:.1f} minutes. Loss in points, with standard "
            "error; * is more than without any random direction, ** by two standard errors"
        )
        if table is not None:
            table.write_text(found.to_markdown(n_shown), encoding="utf8")
            msg.good(f"Saved the table to {table}")
        if output is not None:
            srsly.write_json(output, {**found.to_dict(), "minutes": minutes})
            msg.good(f"Saved the results to {output}")
        if chart is not None:
            found.draw(chart)
            msg.good(f"Saved the heat map to {chart}")
