from pathlib import Path

import spacy
import srsly
import typer
from spacy.cli._util import setup_gpu
from wasabi import msg

from ..probing.encoders import choose_component
from ..probing.texts import read_groups
from ..probing.unit_summary import DIRECTIONS, summarize_units
from ._util import GpuOpt, PipelineArg, RecurrentOpt, TaskOpt, show_errors


def dynamics_cli(
    model: PipelineArg,
    text: str = typer.Argument(
        ..., help="Text, file of texts with as many words each, or number agreement data"
    ),
    component: RecurrentOpt = None,
    task: TaskOpt = None,
    units: list[int] = typer.Option(
        [], "--unit", "-u", help="Number of a unit; repeat for several. None: those that vary most"
    ),
    n_units: int = typer.Option(2, "--n-units", "-n", help="How many to choose then"),
    layer: int = typer.Option(-1, "--layer", "-l", help="Layer from 1; -1 is the last"),
    direction: str = typer.Option("forward", "--direction", "-d", help=" or ".join(DIRECTIONS)),
    chart: Path | None = typer.Option(None, "--chart", help="PNG, SVG or PDF file for a picture"),
    output: Path | None = typer.Option(None, "--output", "-o", help="JSON file for the results"),
    use_gpu: GpuOpt = -1,
) -> None:
    """Print the hidden state, cell state and gates of some units over the words of a text. Of
    several texts, the means: for each condition of number agreement data.
    """
    with show_errors("Can't show the dynamics"):
        if direction not in DIRECTIONS or layer == 0:
            raise ValueError("Layers count from 1 or -1, and a direction is forward or backward.")
        setup_gpu(use_gpu, silent=True)
        nlp = spacy.load(model)
        summary = summarize_units(
            nlp,
            read_groups(nlp, text, task),
            choose_component(nlp, component),
            layer=layer - 1 if layer > 0 else layer,
            direction=DIRECTIONS.index(direction),
            units=units,
            n_units=n_units,
        )
        header, *rows = summary.to_rows()
        aligns = ("r", "l", "l", *("r" for _ in header[3:]))
        msg.table(rows, header=header, divider=True, aligns=aligns)
        if output is not None:
            srsly.write_json(output, summary.to_dict())
            msg.good(f"Saved the results to {output}")
        if chart is not None:
            summary.draw(chart)
            msg.good(f"Saved the picture to {chart}")
