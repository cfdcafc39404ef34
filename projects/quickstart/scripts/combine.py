"""Put components that were trained separately into one pipeline."""

from pathlib import Path
from typing import Annotated

import spacy
import typer
from wasabi import msg

app = typer.Typer(add_completion=False)


@app.command()
def combine(
    pipelines: Annotated[list[Path], typer.Argument(help="Trained pipelines, then the output")],
) -> None:
    """Save a pipeline with the components of all PIPELINES but the last, which is the output."""
    *inputs, output = pipelines
    nlp = spacy.load(inputs[0])
    for path in inputs[1:]:
        source = spacy.load(path)
        for name in source.pipe_names:
            nlp.add_pipe(name, source=source)
    nlp.to_disk(output)
    msg.good(f"{', '.join(nlp.pipe_names)}: saved in {output}")


if __name__ == "__main__":
    app()
