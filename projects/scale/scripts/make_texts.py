"""Make a corpus of texts with ids to annotate, as Parquet and as JSONL."""

from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import srsly
import typer
from texts import read_texts
from wasabi import msg

app = typer.Typer(add_completion=False)


@app.command()
def make_cli(
    source: Annotated[Path, typer.Argument(help="Texts: .spacy, .conllu or .txt, one a line")],
    target: Annotated[Path, typer.Argument(help="Directory to write to")],
    n_texts: Annotated[int, typer.Option("--texts", help="Number of texts")] = 20_000,
    files: Annotated[int, typer.Option(help="Number of files of each format")] = 8,
) -> None:
    """Repeat the texts until there are enough, and write them with ids."""
    from pyarrow import Table, parquet

    texts = islice(cycle(read_texts(source)), n_texts)
    rows = [{"id": i, "text": text} for i, text in enumerate(texts)]
    for name in ("parquet", "jsonl"):
        (target / name).mkdir(parents=True, exist_ok=True)
        for old in (target / name).glob(f"*.{name}"):
            old.unlink()
    for i in range(files):
        part = rows[i * n_texts // files : (i + 1) * n_texts // files]
        parquet.write_table(Table.from_pylist(part), target / "parquet" / f"{i:04}.parquet")
        srsly.write_jsonl(target / "jsonl" / f"{i:04}.jsonl", part)
    msg.good(f"{target}: {n_texts} texts")


if __name__ == "__main__":
    app()
