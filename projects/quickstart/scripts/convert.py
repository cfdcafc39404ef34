"""Convert the bundled plain-text corpus to spaCy's binary training format.

Usage::

    python scripts/convert.py assets/train.txt corpus/train.spacy

The input has one sentence a line: a category, a TAB, and then tokens separated by single
spaces. A token is ``word/TAG`` (split on its last slash, so a word may contain slashes), with
Penn Treebank tags. An entity is wrapped in square brackets, with its label straight after::

    feedback<TAB>The/DT ferry/NN to/IN [New/NNP York/NNP]LOC was/VBD late/JJ ./.

Blank lines and lines starting with ``#`` are ignored.

Every sentence becomes one ``Doc`` with words, spaces, tags, entities and one category out of
``CATEGORIES``. The text is put together again by the small rules in ``guess_spaces``, and each
sentence is checked against ``spacy.blank("en")``: a pipeline must see the same tokens in the
raw text as in the corpus, or its annotations would not line up.

The same input always gives the same output bytes. The output is written to a temporary file
beside it and then renamed, so an interrupted run leaves no half-written corpus.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span

# Every Doc gets a score for each of these: 1.0 for its own category, 0.0 for the others.
CATEGORIES = ("question", "request", "feedback")

# An optional "[", the word, a slash, the tag, and an optional "]" with the entity's label.
TOKEN = re.compile(r"(?P<open>\[)?(?P<word>.+)/(?P<tag>[^/\]]+)(?P<close>\](?P<label>.*))?")

NO_SPACE_BEFORE = frozenset({",", ".", "?", "!", ":", ";", ")", "%", "...", "n't"})
NO_SPACE_AFTER = frozenset({"(", "$"})

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Sentence:
    """One annotated line: entities are (first token, one past the last token, label)."""

    category: str
    words: list[str]
    tags: list[str]
    entities: list[tuple[int, int, str]]


def parse_line(line: str, where: str) -> Sentence:
    """Parse one corpus line; ``where`` ("file:line") is named in the error if it is malformed."""
    category, tab, body = line.partition("\t")
    if not tab:
        raise ValueError(
            f"{where}: no TAB found. Write the category, a TAB, then the tokens, for example "
            f"'feedback<TAB>We/PRP left/VBD ./.'."
        )
    if category not in CATEGORIES:
        raise ValueError(
            f"{where}: unknown category {category!r}. Use one of {', '.join(CATEGORIES)}, or add "
            f"yours to CATEGORIES in {Path(__file__).name}."
        )
    words: list[str] = []
    tags: list[str] = []
    entities: list[tuple[int, int, str]] = []
    start: int | None = None
    for index, token in enumerate(body.split(" ")):
        if not token:
            raise ValueError(
                f"{where}: empty token after {' '.join(words[-3:])!r}. Separate the tokens by "
                f"exactly one space, with none at the start or end of the sentence."
            )
        match = TOKEN.fullmatch(token)
        if match is None:
            raise ValueError(
                f"{where}: token {token!r} has no tag. Write it as word/TAG, for example "
                f"'ferry/NN', and an entity as '[Lisbon/NNP]LOC'."
            )
        if match["open"]:
            if start is not None:
                raise ValueError(
                    f"{where}: a bracket opens at {token!r} inside another entity. Close the "
                    f"earlier one first; entities cannot be nested."
                )
            start = index
        words.append(match["word"])
        tags.append(match["tag"])
        if match["close"]:
            if start is None:
                raise ValueError(
                    f"{where}: a bracket closes at {token!r} but none is open. Put '[' before "
                    f"the first word of the entity, or remove the ']'."
                )
            if not match["label"]:
                raise ValueError(
                    f"{where}: the entity closed at {token!r} has no label. Write the label "
                    f"straight after the bracket, for example ']LOC'."
                )
            entities.append((start, index + 1, match["label"]))
            start = None
    if start is not None:
        raise ValueError(
            f"{where}: unclosed bracket before {words[start]!r}. Close the entity after its last "
            f"token, with its label, for example '[New/NNP York/NNP]LOC'."
        )
    return Sentence(category, words, tags, entities)


def guess_spaces(words: Sequence[str], tags: Sequence[str]) -> list[bool]:
    """Say for each word whether a space follows it in the raw text."""
    spaces = []
    for i in range(len(words) - 1):
        word, tag, next_word, next_tag = words[i], tags[i], words[i + 1], tags[i + 1]
        joined = (
            "HYPH" in (tag, next_tag)
            or word in NO_SPACE_AFTER
            or tag == "``"
            or next_word in NO_SPACE_BEFORE
            or next_tag == "''"
            or (next_word.startswith("'") and next_tag != "``")
        )
        spaces.append(not joined)
    spaces.append(False)
    return spaces


def make_doc(nlp: Language, sentence: Sentence, where: str) -> Doc:
    """Build the annotated Doc, having checked that the tokenizer gives the same tokens."""
    spaces = guess_spaces(sentence.words, sentence.tags)
    doc = Doc(nlp.vocab, words=sentence.words, spaces=spaces, tags=sentence.tags)
    found = [token.text for token in nlp.make_doc(doc.text)]
    if found != sentence.words:
        raise ValueError(
            f"{where}: the tokens are not how spaCy splits {doc.text!r}. Change the line so that "
            f"its words are {' '.join(found)!r}, or word the sentence differently."
        )
    doc.set_ents([Span(doc, start, end, label) for start, end, label in sentence.entities])
    doc.cats = {name: float(name == sentence.category) for name in CATEGORIES}
    return doc


def read_docs(path: Path, nlp: Language) -> Iterator[Doc]:
    """Yield the Docs of a corpus file, in its order."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.rstrip("\n")
            if line.strip() and not line.startswith("#"):
                where = f"{path}:{number}"
                yield make_doc(nlp, parse_line(line, where), where)


def describe(docs: Sequence[Doc]) -> str:
    """Summarise the docs in a few lines: how much there is, and of what."""
    tags = Counter(token.tag_ for doc in docs for token in doc)
    labels = Counter(ent.label_ for doc in docs for ent in doc.ents)
    categories = Counter(name for doc in docs for name, score in doc.cats.items() if score)

    def listing(counts: Counter[str]) -> str:
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{name} {count}" for name, count in ordered)

    with_entities = sum(bool(doc.ents) for doc in docs)
    return (
        f"{len(docs)} sentences ({with_entities} with entities), {tags.total()} tokens\n"
        f"{len(tags)} tags: {listing(tags)}\n"
        f"{labels.total()} entities: {listing(labels)}\n"
        f"{len(categories)} categories: {listing(categories)}"
    )


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Corpus text file.")],
    output: Annotated[Path, typer.Argument(dir_okay=False, help="The .spacy file to write.")],
) -> None:
    """Convert SOURCE, an annotated text file, to OUTPUT, a .spacy file for training."""
    nlp = spacy.blank("en")
    docs = list(read_docs(source, nlp))
    if not docs:
        raise ValueError(f"{source}: no sentences found. Write one a line, as in assets/train.txt.")
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f"{output.name}.{os.getpid()}.tmp")
    try:
        DocBin(attrs=["TAG", "ENT_IOB", "ENT_TYPE"], docs=docs).to_disk(temporary)
        os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)
    typer.echo(f"{output}: {describe(docs)}")


if __name__ == "__main__":
    app()
