"""Tag a text with a trained pipeline and print the result."""

from pathlib import Path

import spacy
import typer
from wasabi import msg


def main(model: Path, text: str) -> None:
    """Tag a text.

    model (Path): The directory of a trained pipeline.
    text (str): The text.
    """
    nlp = spacy.load(model)
    doc = nlp(text)
    msg.divider(f"{nlp.pipe_names[-1]} from {model}")
    msg.table(
        [(token.text, token.tag_, spacy.explain(token.tag_) or "") for token in doc],
        header=("token", "tag", "meaning"),
        divider=True,
    )


if __name__ == "__main__":
    typer.run(main)
