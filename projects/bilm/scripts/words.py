"""Write the words of a corpus in spaCy's format as texts to pretrain on."""

from pathlib import Path

import spacy
import srsly
import typer
from spacy.tokens import DocBin

from spacy_rnn.training.atomic import replace_path


def main(
    corpus: Path = typer.Argument(..., help="File .spacy", exists=True, dir_okay=False),
    output: Path = typer.Argument(..., help="File .jsonl to write, a text a line"),
) -> None:
    """Write the texts."""
    n_texts, n_words = write_words(corpus, output)
    print(f"{output}: {n_words:,} words in {n_texts:,} texts")


def write_words(corpus: Path, output: Path) -> tuple[int, int]:
    """Write the words of each Doc under the key "tokens", as `spacy rnn pretrain` reads them.

    corpus (Path): A file in spaCy's format.
    output (Path): The file to write.
    RETURNS (tuple[int, int]): The numbers of texts and of words.
    """
    docs = DocBin().from_disk(corpus).get_docs(spacy.blank("xx").vocab)
    records = [{"tokens": [token.text for token in doc if not token.is_space]} for doc in docs]
    with replace_path(output) as temporary:
        srsly.write_jsonl(temporary, records)
    return len(records), sum(len(record["tokens"]) for record in records)


if __name__ == "__main__":
    typer.run(main)
