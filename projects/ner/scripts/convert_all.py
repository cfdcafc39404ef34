"""Convert the corpora that were fetched, each to train.spacy, dev.spacy and test.spacy."""

from pathlib import Path
from typing import Annotated

import typer
from convert import convert_cli
from wasabi import msg

# The files of each part, and the labels that count as none. The train file of UNER is from before
# its release, when there still were tags that it dropped. BTC has sections instead of parts: as
# others do, h is for development and f for the test.
CORPORA = {
    "uner_en_ewt": ({"train": ["train"], "dev": ["dev"], "test": ["test"]}, ["OTH", "O"]),
    "wnut17": ({"train": ["train"], "dev": ["dev"], "test": ["test"]}, []),
    "btc": ({"train": ["a", "b", "e", "g"], "dev": ["h"], "test": ["f"]}, []),
}

app = typer.Typer(add_completion=False)


@app.command()
def convert_all_cli(
    assets: Annotated[Path, typer.Argument(help="Directory of the corpora's files")],
    corpus: Annotated[Path, typer.Argument(help="Directory to write to")],
) -> None:
    """Convert all corpora of which there are files."""
    found = [name for name in CORPORA if any((assets / name).glob("*.iob2"))]
    if not found:
        msg.fail(f"There are no corpora in {assets}", "Run `spacy project assets .`", exits=1)
    for name in found:
        parts, drop = CORPORA[name]
        for part, files in parts.items():
            paths = [assets / name / f"{file}.iob2" for file in files]
            convert_cli(corpus / name / f"{part}.spacy", paths, drop=drop)


if __name__ == "__main__":
    app()
