"""Measure the memory of one pipeline in a fresh process: speed.py runs this."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def memory_cli(
    pipeline: Annotated[Path, typer.Argument(help="Directory of the pipeline")],
    files: Annotated[list[Path], typer.Argument(help="Files with the texts")],
    batch_size: Annotated[int, typer.Option(help="Batch size")] = 256,
    limit: Annotated[int, typer.Option(help="How many of the texts to take, 0 for all")] = 0,
) -> None:
    """Print the peak of the memory in megabytes, after the import of spaCy and at the end."""
    import spacy
    import torch  # noqa: F401
    from data import read_texts

    memory = {"import": get_peak()}
    nlp = spacy.load(pipeline)
    for _ in nlp.pipe(read_texts(files)[: limit or None], batch_size=batch_size):
        pass
    print(json.dumps({**memory, "peak": get_peak()}))


def get_peak() -> float:
    """Get the most memory this process ever had resident, in megabytes.

    On Linux, `getrusage` starts from what the parent had when it started this process, so
    the kernel's own count for this program is read there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf8").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    try:
        import resource
    except ImportError as err:  # Windows
        raise RuntimeError("The peak of memory can be measured on Linux and macOS only.") from err
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


if __name__ == "__main__":
    app()
