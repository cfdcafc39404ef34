"""Convert the corpora that were fetched to spaCy's binary format: train.spacy, dev.spacy and
test.spacy, or that in fold_0 to fold_4 for a corpus without official parts.
"""

import csv
import random
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from lzma import LZMAError
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.tokens import DocBin
from wasabi import msg

FETCH = "Fetch it again: `spacy project assets .` skips files that exist, so delete it first."
SEED = 0
N_FOLDS = 5
# The share of the texts to train on that are for development, where a corpus has none
DEV_SHARE = 0.1
BANKING77_DEV = 1000

# A text and the labels it has
Row = tuple[str, list[str]]
Parts = dict[str, list[Row]]

app = typer.Typer(add_completion=False)


class CorpusError(ValueError):
    """An input that cannot be converted. The message names the file and says what to do."""


@app.command()
def convert_cli(
    assets: Annotated[Path, typer.Argument(help="Directory of the corpora's files")],
    corpus: Annotated[Path, typer.Argument(help="Directory to write to")],
) -> None:
    """Convert all corpora of which there are files."""
    found = [name for name in READERS if any((assets / name).glob("*"))]
    if not found:
        msg.fail(f"There are no corpora in {assets}", "Run `spacy project assets .`", exits=1)
    for name in found:
        try:
            for directory, parts in READERS[name](assets / name):
                write_parts(parts, corpus / name / directory)
        except CorpusError as err:
            msg.fail(f"Can't convert {name}", str(err), exits=1)


def read_banking77(assets: Path) -> Iterator[tuple[str, Parts]]:
    """Read the intents of customers of a bank. A sample of the train texts is for development."""
    rows = {part: _read_csv(assets / f"{part}.csv") for part in ("train", "test")}
    train = rows["train"]
    random.Random(SEED).shuffle(train)
    yield (
        "",
        {"train": train[BANKING77_DEV:], "dev": train[:BANKING77_DEV], "test": rows["test"]},
    )


def read_goemotions(assets: Path) -> Iterator[tuple[str, Parts]]:
    """Read comments with one or several of 28 emotions."""
    names = _read_lines(assets / "labels.txt")
    parts = {}
    for part in ("train", "dev", "test"):
        path = assets / f"{part}.tsv"
        parts[part] = []
        for number, line in enumerate(_read_lines(path), start=1):
            try:
                text, ids, _ = line.split("\t")
                parts[part].append((text, [names[int(i)] for i in ids.split(",")]))
            except (ValueError, IndexError) as err:
                raise CorpusError(
                    f"{path}, line {number}: not a text, numbers of labels and an id: {line!r}. "
                    f"{FETCH}"
                ) from err
    yield "", parts


def read_mr(assets: Path) -> Iterator[tuple[str, Parts]]:
    """Read sentences from film reviews that praise or blame, for cross-validation."""
    texts = _read_archive(assets, r"rt-polarity\.(neg|pos)$")
    by_label: dict[str, list[str]] = {}
    for name, content in texts.items():
        lines = [line.strip() for line in content.split("\n")]
        by_label[name[-3:]] = [line for line in lines if line]
    for sentences in by_label.values():
        random.Random(SEED).shuffle(sentences)
    yield from _make_folds(by_label)


def read_movie_reviews(assets: Path) -> Iterator[tuple[str, Parts]]:
    """Read whole film reviews that praise or blame, for cross-validation in the order of their
    numbers, as others do.
    """
    texts = _read_archive(assets, r"(neg|pos)/cv\d+_\d+\.txt$")
    by_label: dict[str, list[str]] = {}
    for name in sorted(texts):
        by_label.setdefault(Path(name).parent.name, []).append(texts[name].strip())
    # Each fold is a run of numbers, and not every fifth.
    for label, reviews in by_label.items():
        size = len(reviews) // N_FOLDS
        by_label[label] = [reviews[i * size + j] for j in range(size) for i in range(N_FOLDS)]
    yield from _make_folds(by_label)


READERS: dict[str, Callable[[Path], Iterator[tuple[str, Parts]]]] = {
    "banking77": read_banking77,
    "goemotions": read_goemotions,
    "mr": read_mr,
    "movie_reviews": read_movie_reviews,
}


def write_parts(parts: Parts, directory: Path) -> None:
    """Tokenise texts and write them. A file is complete or absent: it is written under another
    name and renamed.

    parts (dict[str, list[Row]]): The rows of each part.
    directory (Path): The directory of the .spacy files. It is made if there is none.
    """
    nlp = spacy.blank("en")
    labels = sorted({label for rows in parts.values() for _, found in rows for label in found})
    directory.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        doc_bin = DocBin()
        for text, found in rows:
            doc = nlp.make_doc(text)
            doc.cats = {label: float(label in found) for label in labels}
            doc_bin.add(doc)
        path = directory / f"{part}.spacy"
        partial = path.with_name(path.name + ".tmp")
        try:
            doc_bin.to_disk(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        msg.good(f"{path}: {len(rows)} texts, {len(labels)} labels")


def _make_folds(by_label: dict[str, list[str]]) -> Iterator[tuple[str, Parts]]:
    """Divide texts for cross-validation: text i of each label is in fold i modulo N_FOLDS."""
    for fold in range(N_FOLDS):
        rest = [
            (text, [label])
            for label, texts in by_label.items()
            for i, text in enumerate(texts)
            if i % N_FOLDS != fold
        ]
        test = [
            (text, [label]) for label, texts in by_label.items() for text in texts[fold::N_FOLDS]
        ]
        random.Random(SEED).shuffle(rest)
        n_dev = round(DEV_SHARE * len(rest))
        yield f"fold_{fold}", {"train": rest[n_dev:], "dev": rest[:n_dev], "test": test}


def _read_csv(path: Path) -> list[Row]:
    rows = list(csv.reader(_read(path).splitlines(keepends=True)))
    if not rows or rows[0] != ["text", "category"]:
        raise CorpusError(f"{path}, line 1: no columns text, category. {FETCH}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2:
            raise CorpusError(f"{path}, row {number}: not a text and a category: {row}. {FETCH}")
    return [(text.strip(), [label]) for text, label in rows[1:]]


def _read_lines(path: Path) -> list[str]:
    return [line for line in _read(path).split("\n") if line]


def _read(path: Path) -> str:
    if not path.is_file():
        raise CorpusError(f"{path} does not exist. Fetch it: `spacy project assets .`")
    return _decode(path.read_bytes(), str(path))


def _decode(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as err:
        raise CorpusError(f"{name}: not UTF-8 ({err.reason}). {FETCH}") from err


def _read_archive(directory: Path, pattern: str) -> dict[str, str]:
    """Read files from a directory, packed or not.

    directory (Path): The directory: with the files, or a .zip or .tar.xz that holds them.
    pattern (str): A regular expression that is found in the names of the files. What it matches
        names a file, so that one that is there twice counts once.
    RETURNS (dict[str, str]): The texts by those names.
    """
    found: dict[str, bytes] = {}
    for path in sorted(directory.rglob("*")):
        try:
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        if match := re.search(pattern, name):
                            found[match.group()] = archive.read(name)
            elif path.name.endswith(".tar.xz"):
                with tarfile.open(path) as archive:
                    for member in archive:
                        file = archive.extractfile(member)
                        if file is not None and (match := re.search(pattern, member.name)):
                            found[match.group()] = file.read()
            elif path.is_file() and (match := re.search(pattern, path.as_posix())):
                found[match.group()] = path.read_bytes()
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, LZMAError, zlib.error) as err:
            raise CorpusError(f"{path}: not an archive ({err}). {FETCH}") from err
    if not found:
        raise CorpusError(f"{directory} holds no file like {pattern}. {FETCH}")
    return {name: _decode(content, name) for name, content in found.items()}


if __name__ == "__main__":
    app()
