import tarfile
import zipfile
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin

from ..conftest import ROOT, load_script

convert = load_script(ROOT / "projects" / "textcat" / "scripts" / "convert.py")


def read(path: Path) -> list[tuple[str, list[str]]]:
    docs = DocBin().from_disk(path).get_docs(spacy.blank("en").vocab)
    return [(doc.text, [label for label, y in doc.cats.items() if y]) for doc in docs]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf8")


def make_banking77(assets: Path) -> None:
    rows = "".join(f'"Text {i}, ""new""\nline",label_{i % 3}\n' for i in range(1010))
    write(assets / "banking77" / "train.csv", "text,category\n" + rows)
    write(assets / "banking77" / "test.csv", "text,category\nWhere?,label_1\n")


def make_goemotions(assets: Path) -> None:
    write(assets / "goemotions" / "labels.txt", "joy\nfear\nneutral")
    for part in ("train", "dev", "test"):
        write(assets / "goemotions" / f"{part}.tsv", 'Oh "no"!\t0,1\tx1\nHm\t2\tx2\n')


def make_mr(assets: Path) -> None:
    for label in ("neg", "pos"):
        lines = "".join(f"{label} {i} .  \n" for i in range(20))
        write(assets / "mr" / f"rt-polarity.{label}", lines)


def make_reviews(directory: Path) -> list[Path]:
    for label in ("neg", "pos"):
        for i in range(20):
            write(directory / label / f"cv{i:03}_1.txt", f"{label} {i}\n")
    return sorted(directory.rglob("*.txt"))


def test_labels_exclude_each_other_and_dev_is_taken_from_train(tmp_path: Path) -> None:
    make_banking77(tmp_path)
    convert.convert_cli(tmp_path, tmp_path / "corpus")
    parts = {p: read(tmp_path / "corpus" / "banking77" / f"{p}.spacy") for p in ("train", "dev")}
    assert [len(rows) for rows in parts.values()] == [10, 1000]
    texts = {text for rows in parts.values() for text, _ in rows}
    assert texts == {f'Text {i}, "new"\nline' for i in range(1010)}
    assert parts["train"][0][1] == [f"label_{int(parts['train'][0][0].split()[1][:-1]) % 3}"]
    (test,) = read(tmp_path / "corpus" / "banking77" / "test.spacy")
    assert test == ("Where?", ["label_1"])
    (doc,) = (
        DocBin()
        .from_disk(tmp_path / "corpus" / "banking77" / "test.spacy")
        .get_docs(spacy.blank("en").vocab)
    )
    assert doc.cats == {"label_0": 0.0, "label_1": 1.0, "label_2": 0.0}


def test_several_labels(tmp_path: Path) -> None:
    make_goemotions(tmp_path)
    convert.convert_cli(tmp_path, tmp_path / "corpus")
    rows = read(tmp_path / "corpus" / "goemotions" / "dev.spacy")
    assert rows == [('Oh "no"!', ["fear", "joy"]), ("Hm", ["neutral"])]


@pytest.mark.parametrize("name", ["mr", "movie_reviews"])
def test_folds_divide_the_texts(tmp_path: Path, name: str) -> None:
    if name == "mr":
        make_mr(tmp_path)
    else:
        make_reviews(tmp_path / "movie_reviews" / "unpacked")
    convert.convert_cli(tmp_path, tmp_path / "corpus")
    tests = []
    for fold in range(5):
        parts = {
            part: read(tmp_path / "corpus" / name / f"fold_{fold}" / f"{part}.spacy")
            for part in ("train", "dev", "test")
        }
        assert [len(rows) for rows in parts.values()] == [29, 3, 8]
        assert len({text for rows in parts.values() for text, _ in rows}) == 40
        assert sorted(label for _, (label,) in parts["test"]) == ["neg"] * 4 + ["pos"] * 4
        assert all(text.startswith(label) for rows in parts.values() for text, (label,) in rows)
        tests += [text for text, _ in parts["test"]]
    assert len(set(tests)) == 40
    if name == "movie_reviews":
        assert tests[:4] == ["neg 0", "neg 1", "neg 2", "neg 3"]


@pytest.mark.parametrize("kind", ["zip", "tar.xz"])
def test_archives_are_read_as_they_are(tmp_path: Path, kind: str) -> None:
    files = make_reviews(tmp_path / "files")
    directory = tmp_path / "movie_reviews"
    directory.mkdir()
    if kind == "zip":
        with zipfile.ZipFile(directory / "movie_reviews.zip", "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(tmp_path))
    else:
        with tarfile.open(directory / "movie_reviews.tar.xz", "w:xz") as archive:
            archive.add(tmp_path / "files", "movie_reviews")
    # Also unpacked: a review that is there twice counts once.
    make_reviews(directory / "unpacked")
    folds = dict(convert.read_movie_reviews(directory))
    assert len(folds) == 5 and ("neg 0", ["neg"]) in folds["fold_0"]["test"]
    assert sum(len(rows) for rows in folds["fold_0"].values()) == 40


@pytest.mark.parametrize(
    "name, file, text, message",
    [
        ("banking77", "train.csv", "a,b\n", "train.csv, line 1"),
        ("banking77", "test.csv", None, "test.csv does not exist"),
        ("goemotions", "dev.tsv", "x\t0\ty\nx\t9\ty\n", "dev.tsv, line 2"),
        ("goemotions", "train.tsv", "x\n", "train.tsv, line 1"),
        ("mr", "x.zip", "no archive", "x.zip: not an archive"),
        ("mr", "x.tar.xz", "no archive", "x.tar.xz: not an archive"),
        ("banking77", "train.csv", "text,category\na,b,c\n", "train.csv, row 2"),
    ],
)
def test_broken_files_are_named(
    tmp_path: Path, name: str, file: str, text: str | None, message: str
) -> None:
    make_banking77(tmp_path)
    make_goemotions(tmp_path)
    path = tmp_path / name / file
    if text is None:
        path.unlink()
    else:
        write(path, text)
    with pytest.raises(convert.CorpusError, match=message):
        list(convert.READERS[name](tmp_path / name))


def test_no_corpora(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        convert.convert_cli(tmp_path, tmp_path / "corpus")
