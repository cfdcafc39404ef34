"""Write the words of corpora in spaCy's format as texts to pretrain on."""

import random
from collections.abc import Sequence
from pathlib import Path

import spacy
import srsly
import typer
from spacy.tokens import DocBin

from spacy_rnn.pretraining.atomic import replace_path


def main(
    output: Path = typer.Argument(..., help="File .jsonl to write, a text a line"),
    corpora: list[Path] = typer.Argument(..., help="Files .spacy", exists=True, dir_okay=False),
) -> None:
    """Write the texts."""
    n_texts, n_words = write_words(corpora, output)
    print(f"{output}: {n_words:,} words in {n_texts:,} texts")


def write_words(corpora: Sequence[Path], output: Path) -> tuple[int, int]:
    """Write the words of each Doc under the key "tokens", as `spacy rnn pretrain` reads them, which
    does so in the order of the file: it is a random one here.

    corpora (Sequence[Path]): Files in spaCy's format.
    output (Path): The file to write.
    RETURNS (tuple[int, int]): The numbers of texts and of words.
    """
    vocab = spacy.blank("xx").vocab
    docs = [doc for corpus in corpora for doc in DocBin().from_disk(corpus).get_docs(vocab)]
    records = [{"tokens": [token.text for token in doc if not token.is_space]} for doc in docs]
    random.Random(0).shuffle(records)
    with replace_path(output) as temporary:
        srsly.write_jsonl(temporary, records)
    return len(records), sum(len(record["tokens"]) for record in records)


if __name__ == "__main__":
    typer.run(main)
