from pathlib import Path

import spacy
import typer
from wasabi import msg

from ..layers.shrink import half_precision
from ._util import show_errors


def shrink_cli(
    model: str = typer.Argument(..., help="Pipeline: name or path"),
    output: Path = typer.Argument(..., help="Directory for the smaller pipeline"),
    force: bool = typer.Option(False, "--force", "-F", help="Overwrite the directory"),
) -> None:
    """Store a trained pipeline with weights in half precision, in about half the space. Speed and
    memory stay the same: loaded, they are in single precision again.
    """
    if output.exists() and not force:
        msg.fail(f"'{output}' exists: name another directory, or use --force", exits=1)
    with show_errors("Can't shrink the pipeline"):
        nlp = spacy.load(model)
        with half_precision(nlp):
            nlp.to_disk(output)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    msg.good(f"Saved the pipeline to {output}: {size / 1e6:.1f} MB")
