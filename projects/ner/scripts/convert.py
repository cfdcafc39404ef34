"""Convert files with a token and an IOB2 tag a line to spaCy's binary format, one Doc a sentence.

spaCy's own converter (`spacy convert -c ner`) is not used because it knows neither the tags that
count as none nor the columns of Universal NER, and names no line when a file is broken.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab
from wasabi import msg

FETCH = "Fetch it again: `spacy project assets .` skips files that exist, so delete it first."
Row = tuple[str, str]

app = typer.Typer(add_completion=False)


class IobError(ValueError):
    """An input that cannot be converted. The message names the file and says what to do."""


@app.command()
def convert_cli(
    output_path: Annotated[Path, typer.Argument(help="The .spacy file to write")],
    input_paths: Annotated[list[Path], typer.Argument(help="Files, one after the other")],
    lang: Annotated[str, typer.Option(help="Language code, e.g. en")] = "en",
    drop: Annotated[
        list[str] | None, typer.Option(help="Labels of entities that count as none")
    ] = None,
) -> None:
    """Convert files with IOB2 tags to a .spacy file, one Doc a sentence, gold tokens."""
    try:
        counts = convert(input_paths, output_path, lang, drop or ())
    except IobError as err:
        msg.fail(f"Can't write {output_path}", str(err), exits=1)
    labels = ", ".join(f"{key} {n}" for key, n in sorted(counts.items()) if key.isupper())
    msg.good(f"{output_path}: {counts['sentences']} sentences, {counts['words']} words", labels)


def convert(
    input_paths: list[Path], output_path: Path, lang: str = "en", drop: tuple[str, ...] | list = ()
) -> Counter[str]:
    """Convert files. The output is complete or absent: it is written under another name and
    renamed.

    input_paths (list[Path]): The files.
    output_path (Path): The .spacy file to write. Its directory is made if there is none.
    lang (str): Language code of the vocabulary.
    drop (Sequence[str]): Labels of entities that count as none.
    RETURNS (Counter[str]): The number of "sentences" and "words", and of entities by label, in
        capitals.
    RAISES (IobError): An input is absent, empty or broken.
    """
    vocab = spacy.blank(lang).vocab
    counts: Counter[str] = Counter(sentences=0, words=0)
    doc_bin = DocBin()
    for path in input_paths:
        n_before = counts["sentences"]
        for rows in read_sentences(path):
            doc = make_doc(vocab, rows, drop)
            doc_bin.add(doc)
            counts.update(sentences=1, words=len(doc))
            counts.update(ent.label_.upper() for ent in doc.ents)
        if counts["sentences"] == n_before:
            raise IobError(f"{path} holds no sentence. {FETCH}")
    output_path.parent.mkdir(parents=True, exist_ok=True)
    partial = output_path.with_name(output_path.name + ".tmp")
    try:
        doc_bin.to_disk(partial)
        partial.replace(output_path)
    finally:
        partial.unlink(missing_ok=True)
    return counts


def read_sentences(path: Path) -> Iterator[list[Row]]:
    """Read words and tags, sentence by sentence. Lines have a word and a tag, or as in Universal
    NER a number, a word and a tag, and perhaps more; comments begin with "# ".

    path (Path): The file.
    YIELDS (list[tuple[str, str]]): The word and the tag of each token.
    RAISES (IobError): The file is absent or no such file.
    """
    if not path.is_file():
        raise IobError(f"{path} does not exist. Fetch it: `spacy project assets .`")
    rows: list[Row] = []
    previous = "O"
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        where = f"{path}, line {number}"
        try:
            line = raw.decode("utf-8").rstrip("\r\t ")
        except UnicodeDecodeError as err:
            raise IobError(f"{where}: not UTF-8 ({err.reason}). {FETCH}") from err
        if not line:
            if rows:
                yield rows
            rows, previous = [], "O"
            continue
        columns = line.split("\t")
        if line.startswith("# ") and len(columns) == 1:
            continue
        if len(columns) < 2:
            raise IobError(f"{where}: no tab between a word and a tag in {line!r}. {FETCH}")
        word, tag = columns[1:3] if len(columns) > 2 else columns
        if tag != "O" and tag[:2] not in ("B-", "I-"):
            raise IobError(f"{where}: {tag!r} is no IOB2 tag. {FETCH}")
        if tag[:2] == "I-" and previous[2:] != tag[2:]:
            raise IobError(f"{where}: {tag!r} follows {previous!r}, but must follow its own label.")
        previous = tag
        # A line of the Broad Twitter Corpus has a tag for a token without characters.
        if word.strip():
            rows.append((word, tag))
    if rows:
        yield rows


def make_doc(vocab: Vocab, rows: list[Row], drop: tuple[str, ...] | list = ()) -> Doc:
    """Make the Doc of a sentence, without spaces: it has `has_unknown_spaces`, so spaCy's corpus
    reader keeps the tokens.

    vocab (Vocab): The vocabulary.
    rows (list[tuple[str, str]]): The word and the tag of each token.
    drop (Sequence[str]): Labels of entities that count as none.
    RETURNS (Doc): The Doc.
    """
    tags = ["O" if tag[2:] in drop else tag for _, tag in rows]
    return Doc(vocab, words=[word for word, _ in rows], ents=tags)


if __name__ == "__main__":
    app()
