"""Link the texts that this project learns from: the first files of the project `bilm`."""

from pathlib import Path

import typer
from wasabi import msg


def main(
    source: Path = typer.Argument(..., help="Directory of train-*.txt.xz", exists=True),
    target: Path = typer.Argument(..., help="Directory for the links"),
    n_files: int = typer.Option(3, min=1, help="How many files, of 4.2 million words each"),
) -> None:
    """Link the first files, and remove links to others."""
    files = sorted(source.glob("train-*.txt.xz"))[:n_files]
    if not files:
        msg.fail(f"There is no train-*.txt.xz in '{source}'", exits=1)
    target.mkdir(parents=True, exist_ok=True)
    for old in target.iterdir():
        if old.is_symlink():
            old.unlink()
    for file in files:
        (target / file.name).symlink_to(file.resolve())
    msg.good(f"Linked {len(files)} files in {target}")


if __name__ == "__main__":
    typer.run(main)
