from pathlib import Path

import spacy
import srsly
import typer
from spacy.cli._util import setup_gpu
from wasabi import msg

from ..probing.encoders import choose_component
from ..probing.memory import compare_memory, draw_memory, name_pipelines, tabulate
from ..probing.texts import cut_windows, read_docs
from ._util import GpuOpt, PipelineArg, RecurrentOpt, show_errors


def memory_cli(
    model: PipelineArg,
    text: str = typer.Argument(..., help="File of texts, directory with such files, or text"),
    component: RecurrentOpt = None,
    also: list[str] = typer.Option(
        [], "--also", "-a", help="Another pipeline to show beside the first; repeat for several"
    ),
    state: str = typer.Option("hidden", "--state", help="hidden or cell"),
    untrained: bool = typer.Option(
        False, "--untrained", help="Show each model with new weights too"
    ),
    distance: int = typer.Option(50, "--distance", "-k", min=1, help="Largest distance in words"),
    n_windows: int = typer.Option(16, "--windows", "-w", min=1, help="Texts to average over"),
    seed: int = typer.Option(0, "--seed", "-s", help="The same seed gives the same numbers"),
    chart: Path | None = typer.Option(None, "--chart", help="PNG, SVG or PDF file for a picture"),
    output: Path | None = typer.Option(None, "--output", "-o", help="JSON file for the results"),
    use_gpu: GpuOpt = -1,
) -> None:
    """Print how far gradients reach: the norm of the derivative of a layer's state by that so many
    words before. 1 is the norm of the identity.
    """
    lines = {}
    with show_errors("Can't measure gradients"):
        setup_gpu(use_gpu, silent=True)
        pipelines = [model, *also]
        for path, name in zip(pipelines, name_pipelines(pipelines), strict=True):
            nlp = spacy.load(path)
            # More words than needed, as some may be white space.
            docs = read_docs(nlp, text, limit=n_windows * (distance + 1))
            windows = cut_windows(nlp, docs, distance + 1, n_windows)
            chosen = choose_component(nlp, component)
            found = compare_memory(
                nlp, windows, chosen, state=state, untrained=untrained, seed=seed
            )
            prefix = f"{name}, " if also else ""
            lines.update({prefix + label: norms for label, norms in found.items()})
        header, *rows = tabulate(lines)
        msg.table(rows, header=header, divider=True, aligns=["r"] * len(header))
        if output is not None:
            srsly.write_json(output, {name: norms.tolist() for name, norms in lines.items()})
            msg.good(f"Saved the results to {output}")
        if chart is not None:
            draw_memory(lines, chart, state)
            msg.good(f"Saved the picture to {chart}")
