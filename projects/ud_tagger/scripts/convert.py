"""Convert a CoNLL-U treebank file to spaCy's binary format, with gold tokens and, from an IOB2 file
of the same sentences, entities.

spaCy's own converter (`spacy convert -c conllu`) is not used because it sets `spaces` (so that the
corpus reader would tokenise anew), puts UPOS where XPOS is missing, keeps "_" as a lemma and names
no line when a file is broken.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import spacy
import typer
from spacy.parts_of_speech import IDS as UPOS
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.vocab import Vocab
from wasabi import msg

# The annotation a Doc can hold, and the CoNLL-U column each comes from
COLUMNS = {"tag": "XPOS", "pos": "UPOS", "morph": "FEATS", "lemma": "LEMMA", "dep": "DEPREL"}
FETCH = "Fetch it again: `spacy project assets .` skips files that exist, so delete it first."
# The share of sentences that may lack entities, as two releases of a treebank differ a little.
MAX_WITHOUT_ENTITIES = 0.01

app = typer.Typer(add_completion=False)


class ConlluError(ValueError):
    """An input that cannot be converted. The message names the file and says what to do."""


class Sentence(NamedTuple):
    """The syntactic words of a sentence.

    rows (list[tuple[int, list[str]]]): For each word its line number and its ten columns.
    sent_id (str): The ID of the sentence, empty if it has none.
    starts_text (bool): Whether a document or paragraph begins with it.
    """

    rows: list[tuple[int, list[str]]]
    sent_id: str
    starts_text: bool


@app.command()
def convert_cli(
    input_path: Annotated[Path, typer.Argument(help="CoNLL-U file of a treebank")],
    output_path: Annotated[Path, typer.Argument(help="The .spacy file to write")],
    lang: Annotated[str, typer.Option(help="Language code, e.g. en")] = "en",
    sentences: Annotated[
        int,
        typer.Option(help="Most sentences in a Doc; a document or paragraph starts a new Doc"),
    ] = 1,
    entities: Annotated[
        str, typer.Option(help="Directory with an IOB2 file of the same name; empty: no entities")
    ] = "",
    drop: Annotated[
        list[str] | None, typer.Option(help="Labels of entities that count as none")
    ] = None,
) -> None:
    """Convert a CoNLL-U file to a .spacy file with gold tokens."""
    iob_path = Path(entities) / f"{input_path.stem}.iob2" if entities else None
    try:
        counts = convert(input_path, output_path, lang, sentences, iob_path, drop or ())
    except ConlluError as err:
        msg.fail(f"Can't convert {input_path}", str(err), exits=1)
    layers = ", ".join(f"{column} {counts[layer]}" for layer, column in COLUMNS.items())
    if iob_path:
        layers += f", entities {counts['ents']}"
    msg.good(f"{output_path}: {counts['sentences']} sentences, {counts['words']} words", layers)
    if counts["without_ents"]:
        msg.warn(f"{counts['without_ents']} sentences have no entity annotation in {iob_path}")


def convert(
    input_path: Path,
    output_path: Path,
    lang: str = "en",
    max_sentences: int = 1,
    iob_path: Path | None = None,
    drop: Sequence[str] = (),
) -> Counter[str]:
    """Convert a CoNLL-U file. The output is complete or absent: it is written under another name
    and renamed.

    input_path (Path): The CoNLL-U file.
    output_path (Path): The .spacy file to write. Its directory is made if there is none.
    lang (str): Language code of the vocabulary.
    max_sentences (int): The most sentences in a Doc. A document or paragraph starts a new one.
    iob_path (Path | None): An IOB2 file with the entities of the same sentences.
    drop (Sequence[str]): Labels of entities that count as none.
    RETURNS (Counter[str]): The number of "sentences" and "words", of words that have each of the
        annotations in COLUMNS, of entities, "ents", and of sentences that lack them,
        "without_ents".
    RAISES (ConlluError): An input is absent, empty or broken, or the two do not belong together.
    """
    try:
        vocab = spacy.blank(lang).vocab
    except ImportError as err:
        raise ConlluError(
            f"spaCy can't load the language '{lang}' (xx stands for any): {err}"
        ) from err
    entities = read_entities(iob_path, drop) if iob_path else {}
    counts: Counter[str] = Counter(dict.fromkeys(("sentences", "words", *COLUMNS), 0))
    doc_bin = DocBin()
    docs: list[Doc] = []
    for sentence in read_sentences(input_path):
        doc = make_doc(vocab, sentence.rows, input_path)
        counts.update(count_layers(doc))
        if iob_path:
            is_annotated = add_entities(doc, *entities.get(sentence.sent_id, ([], [])))
            counts.update(ents=len(doc.ents), without_ents=not is_annotated)
        if docs and (sentence.starts_text or len(docs) == max_sentences):
            doc_bin.add(join(docs))
            docs = []
        docs.append(doc)
    if not docs:
        raise ConlluError(f"{input_path} holds no sentence. {FETCH}")
    if counts["without_ents"] > MAX_WITHOUT_ENTITIES * counts["sentences"]:
        raise ConlluError(
            f"{counts['without_ents']} of {counts['sentences']} sentences are not in {iob_path} "
            "or have other words there. Choose the entities of this treebank."
        )
    doc_bin.add(join(docs))
    output_path.parent.mkdir(parents=True, exist_ok=True)
    partial = output_path.with_name(output_path.name + ".tmp")
    try:
        doc_bin.to_disk(partial)
        partial.replace(output_path)
    finally:
        partial.unlink(missing_ok=True)
    return counts


def read_sentences(path: Path) -> Iterator[Sentence]:
    """Read the syntactic words of a CoNLL-U file, sentence by sentence. Ranges of multiword tokens
    ("1-2") and empty nodes ("1.1") are skipped.

    path (Path): The CoNLL-U file.
    YIELDS (Sentence): The sentence.
    RAISES (ConlluError): The file is absent, empty, cut off, or no CoNLL-U.
    """
    if not path.is_file():
        raise ConlluError(f"{path} does not exist. Fetch it: `spacy project assets .`")
    if not path.stat().st_size:
        raise ConlluError(f"{path} is empty. {FETCH}")
    rows: list[tuple[int, list[str]]] = []
    sent_id, starts_text = "", False
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
                    yield Sentence(rows, sent_id, starts_text)
                    rows, sent_id, starts_text = [], "", False
            elif line.startswith("#"):
                sent_id = _get_sent_id(line) or sent_id
                starts_text |= line.startswith(("# newdoc", "# newpar"))
            else:
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


def _get_sent_id(line: str) -> str:
    name, _, value = line.partition("=")
    return value.strip() if name.strip("# ") == "sent_id" else ""


def read_entities(path: Path, drop: Sequence[str] = ()) -> dict[str, tuple[list[str], list[str]]]:
    """Read an IOB2 file as Universal NER has it: a number, a word and a tag a line, with sentence
    IDs in comments.

    path (Path): The file.
    drop (Sequence[str]): Labels of entities that count as none.
    RETURNS (dict[str, tuple[list[str], list[str]]]): The words and tags of each sentence, by ID.
    RAISES (ConlluError): The file is absent or broken.
    """
    if not path.is_file():
        raise ConlluError(f"{path} does not exist. Fetch it: `spacy project assets .`")
    sentences: dict[str, tuple[list[str], list[str]]] = {}
    words, tags = sentences.setdefault("", ([], []))
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        columns = line.rstrip("\r").split("\t")
        if len(columns) == 1:
            if sent_id := _get_sent_id(line):
                words, tags = sentences.setdefault(sent_id, ([], []))
            continue
        tag = columns[2] if len(columns) > 2 else ""
        previous = tags[-1] if tags else "O"
        if tag != "O" and tag[:2] != "B-" and (tag[:2] != "I-" or tag[2:] != previous[2:]):
            raise ConlluError(
                f"{path}, line {number}: {tag!r} is no IOB2 tag after {previous!r}. {FETCH}"
            )
        words.append(columns[1])
        tags.append(tag)
    if sentences.pop("")[0]:
        raise ConlluError(f"{path}: a sentence has no '# sent_id = ...'. {FETCH}")
    return {
        sent_id: (words, ["O" if tag[2:] in drop else tag for tag in tags])
        for sent_id, (words, tags) in sentences.items()
    }


def add_entities(doc: Doc, words: list[str], tags: list[str]) -> bool:
    """Set the entities of a sentence. Words may be split in another way, as they are in another
    release of the treebank. An entity that begins or ends within a word is left out, and its words
    have no annotation.

    doc (Doc): The sentence.
    words (list[str]): Its words as the entities have them.
    tags (list[str]): Their IOB2 tags.
    RETURNS (bool): Whether the sentence has entity annotation: not if the characters differ.
    """
    if "".join(words) != "".join(token.text for token in doc):
        return False
    example = Example(doc, Doc(doc.vocab, words=words, ents=tags))
    ents, biluo = example.get_aligned_ents_and_ner()
    missing = [doc[i : i + 1] for i, tag in enumerate(biluo) if tag in (None, "-")]
    doc.set_ents(ents, missing=missing)
    return True


def join(docs: list[Doc]) -> Doc:
    """Join sentences to a Doc that has `has_unknown_spaces` as they do."""
    if len(docs) == 1:
        return docs[0]
    doc = Doc.from_docs(docs)
    doc.has_unknown_spaces = True
    return doc


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
