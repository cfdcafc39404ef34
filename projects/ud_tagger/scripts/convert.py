"""Convert a CoNLL-U treebank file to spaCy's binary format, one Doc a sentence, gold tokens.

spaCy's own converter (`spacy convert -c conllu`) is not used because it sets `spaces` (so that the
corpus reader would tokenise anew), puts UPOS where XPOS is missing, keeps "_" as a lemma and names
no line when a file is broken.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.parts_of_speech import IDS as UPOS
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab
from wasabi import msg

# The annotation a Doc can hold, and the CoNLL-U column each comes from
COLUMNS = {"tag": "XPOS", "pos": "UPOS", "morph": "FEATS", "lemma": "LEMMA", "dep": "DEPREL"}
FETCH = "Fetch it again: `spacy project assets .` skips files that exist, so delete it first."

app = typer.Typer(add_completion=False)


class ConlluError(ValueError):
    """An input that cannot be converted. The message names the file and says what to do."""


@app.command()
def convert_cli(
    input_path: Annotated[Path, typer.Argument(help="CoNLL-U file of a treebank")],
    output_path: Annotated[Path, typer.Argument(help="The .spacy file to write")],
    lang: Annotated[str, typer.Option(help="Language code, e.g. en")] = "en",
) -> None:
    """Convert a CoNLL-U file to a .spacy file, one Doc a sentence, gold tokens."""
    try:
        counts = convert(input_path, output_path, lang)
    except ConlluError as err:
        msg.fail(f"Can't convert {input_path}", str(err), exits=1)
    layers = ", ".join(f"{column} {counts[layer]}" for layer, column in COLUMNS.items())
    msg.good(f"{output_path}: {counts['sentences']} sentences, {counts['words']} words", layers)


def convert(input_path: Path, output_path: Path, lang: str = "en") -> Counter[str]:
    """Convert a CoNLL-U file. The output is complete or absent: it is written under another name
    and renamed.

    input_path (Path): The CoNLL-U file.
    output_path (Path): The .spacy file to write. Its directory is made if there is none.
    lang (str): Language code of the vocabulary.
    RETURNS (Counter[str]): The number of "sentences" and "words", and of words that have each of
        the annotations in COLUMNS.
    RAISES (ConlluError): The input is absent, empty or broken.
    """
    try:
        vocab = spacy.blank(lang).vocab
    except ImportError as err:
        raise ConlluError(
            f"spaCy can't load the language '{lang}' (xx stands for any): {err}"
        ) from err
    counts: Counter[str] = Counter(dict.fromkeys(("sentences", "words", *COLUMNS), 0))
    doc_bin = DocBin()
    for rows in read_sentences(input_path):
        doc = make_doc(vocab, rows, input_path)
        doc_bin.add(doc)
        counts.update(count_layers(doc))
    if not counts["sentences"]:
        raise ConlluError(f"{input_path} holds no sentence. {FETCH}")
    output_path.parent.mkdir(parents=True, exist_ok=True)
    partial = output_path.with_name(output_path.name + ".tmp")
    try:
        doc_bin.to_disk(partial)
        partial.replace(output_path)
    finally:
        partial.unlink(missing_ok=True)
    return counts


def read_sentences(path: Path) -> Iterator[list[tuple[int, list[str]]]]:
    """Read the syntactic words of a CoNLL-U file, sentence by sentence. Comments, ranges of
    multiword tokens ("1-2") and empty nodes ("1.1") are skipped.

    path (Path): The CoNLL-U file.
    YIELDS (list[tuple[int, list[str]]]): For each word its line number and its ten columns.
    RAISES (ConlluError): The file is absent, empty, cut off, or no CoNLL-U.
    """
    if not path.is_file():
        raise ConlluError(f"{path} does not exist. Fetch it: `spacy project assets .`")
    if not path.stat().st_size:
        raise ConlluError(f"{path} is empty. {FETCH}")
    rows: list[tuple[int, list[str]]] = []
    is_closed = True
    with path.open("rb") as file_:
        for number, raw in enumerate(file_, start=1):
            where = f"{path}, line {number}"
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as err:
                raise ConlluError(f"{where}: not UTF-8 ({err.reason}). {FETCH}") from err
            is_closed = not line.strip()
            if is_closed:
                if rows:
                    yield rows
                rows = []
            elif not line.startswith("#"):
                columns = line.split("\t")
                if len(columns) != 10:
                    raise ConlluError(
                        f"{where}: {len(columns)} columns between tabs, not 10. {FETCH}"
                    )
                if "-" in columns[0] or "." in columns[0]:
                    continue
                if columns[0] != str(len(rows) + 1):
                    raise ConlluError(
                        f"{where}: word ID '{columns[0]}' where {len(rows) + 1} is due. {FETCH}"
                    )
                rows.append((number, columns))
    if not is_closed:
        raise ConlluError(
            f"{path} ends within a sentence and may be cut off. {FETCH} If it is complete, "
            "end it with a blank line."
        )


def make_doc(vocab: Vocab, rows: list[tuple[int, list[str]]], path: Path) -> Doc:
    """Make the Doc of a sentence from its words, without spaces: it has `has_unknown_spaces`, so
    spaCy's corpus reader keeps the tokens. Missing annotation ("_") is left unset.

    vocab (Vocab): The vocabulary.
    rows (list[tuple[int, list[str]]]): Line number and columns of each word, as
        `read_sentences` yields them.
    path (Path): The file the rows are from, for errors.
    RETURNS (Doc): The Doc, one sentence.
    RAISES (ConlluError): A column's value is invalid.
    """
    for number, (_, form, _, pos, _, feats, head, *_) in rows:
        where = f"{path}, line {number}"
        if not form:
            raise ConlluError(f"{where}: the word is empty. {FETCH}")
        if pos != "_" and pos not in UPOS:
            raise ConlluError(f"{where}: '{pos}' is no universal part of speech (column 4).")
        if feats != "_" and not all("=" in feat for feat in feats.split("|")):
            raise ConlluError(f"{where}: '{feats}' is no list of Name=Value (column 6).")
        if head != "_" and not (head.isdecimal() and int(head) <= len(rows)):
            raise ConlluError(f"{where}: head '{head}' is no word of the sentence (column 7).")
    columns = [row for _, row in rows]
    heads = [_head(row, i) for i, row in enumerate(columns)]
    if _has_cycle(columns):
        where = f"{path}, sentence from line {rows[0][0]}"
        raise ConlluError(f"{where}: the heads (column 7) form a cycle, not a tree.")
    has_tree = any(head is not None for head in heads)
    deps = ["ROOT" if row[7] == "root" else _value(row[7]) for row in columns]
    return Doc(
        vocab,
        words=[row[1] for row in columns],
        lemmas=["" if row[2] == "_" and row[1] != "_" else row[2] for row in columns],
        pos=[_value(row[3]) for row in columns],
        tags=[_value(row[4]) for row in columns],
        morphs=[_value(row[5]) for row in columns],
        heads=heads if has_tree else None,
        deps=deps if has_tree else None,
        sent_starts=None if has_tree else [i == 0 for i in range(len(columns))],
    )


def _value(column: str) -> str:
    return "" if column == "_" else column


def _head(row: list[str], i: int) -> int | None:
    """Turn a head's ID into an index. The root's head is the root itself, as spaCy has it."""
    return None if row[6] == "_" else i if row[6] == "0" else int(row[6]) - 1


def _has_cycle(columns: list[list[str]]) -> bool:
    """Tell whether the way up from some word never ends."""
    for row in columns:
        for _ in columns:
            if row[6] in ("0", "_"):
                break
            row = columns[int(row[6]) - 1]
        if row[6] not in ("0", "_"):
            return True
    return False


def count_layers(doc: Doc) -> Counter[str]:
    """Count a sentence, its words, and the words that have each of the annotations in COLUMNS.

    doc (Doc): The sentence.
    RETURNS (Counter[str]): The counts.
    """
    return Counter(
        sentences=1,
        words=len(doc),
        tag=sum(token.tag != 0 for token in doc),
        pos=sum(token.pos != 0 for token in doc),
        morph=sum(len(token.morph) > 0 for token in doc),
        lemma=sum(token.lemma != 0 for token in doc),
        dep=sum(token.dep != 0 for token in doc),
    )


if __name__ == "__main__":
    app()
