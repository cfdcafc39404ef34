"""The quickstart's corpus and its converter."""

from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin

from ..conftest import ROOT, load_script

PROJECT = ROOT / "projects" / "quickstart"
ASSETS = PROJECT / "assets"
converter = load_script(PROJECT / "scripts" / "convert.py")
CATEGORIES, convert, guess_spaces = converter.CATEGORIES, converter.convert, converter.guess_spaces
parse_line, read_docs = converter.parse_line, converter.read_docs
LINE = "travel\t\"/`` We/PRP did/VBD n't/RB see/VB [New/NNP York/NNP]LOC !/. \"/''"


def test_line_is_parsed_and_detokenised() -> None:
    sentence = parse_line(LINE, "here:1")
    assert sentence.category == "travel"
    assert sentence.entities == [(5, 7, "LOC")]
    spaces = guess_spaces(sentence.words, sentence.tags)
    text = "".join(w + " " * s for w, s in zip(sentence.words, spaces, strict=True))
    assert text == '"We didn\'t see New York!"'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("travel We/PRP left/VBD", "no TAB"),
        ("travels\tWe/PRP left/VBD", "unknown category"),
        ("travel\tWe/PRP left", "has no tag"),
        ("travel\tWe/PRP  left/VBD", "empty token"),
        ("travel\t[New/NNP York/NNP is/VBZ big/JJ", "unclosed bracket"),
        ("travel\t[New/NNP [York/NNP]LOC", "inside another entity"),
        ("travel\tNew/NNP York/NNP]LOC", "none is open"),
        ("travel\t[New/NNP York/NNP] is/VBZ big/JJ", "has no label"),
        ("travel\tWe/PRP didn't/VBD go/VB", "not how spaCy splits"),
    ],
)
def test_malformed_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(f"# comment\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"bad\.txt:2: .*{problem}"):
        list(read_docs(path, spacy.blank("en")))


@pytest.mark.parametrize("name", ["train", "dev", "test"])
def test_bundled_corpus_converts_the_same_twice(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "new" / "first.spacy", tmp_path / "second.spacy"
    convert(ASSETS / f"{name}.txt", first)
    convert(ASSETS / f"{name}.txt", second)
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["first.spacy"]
    nlp = spacy.blank("en")
    docs = list(DocBin().from_disk(first).get_docs(nlp.vocab))
    assert {label for doc in docs for label in doc.cats if doc.cats[label]} == set(CATEGORIES)
    assert {ent.label_ for doc in docs for ent in doc.ents} == {"PERSON", "ORG", "LOC", "DATE"}
    for doc, source in zip(docs, read_docs(ASSETS / f"{name}.txt", nlp), strict=True):
        assert doc.text == source.text
        assert [t.tag_ for t in doc] == [t.tag_ for t in source]
        assert [(e.text, e.label_) for e in doc.ents] == [(e.text, e.label_) for e in source.ents]
        assert doc.cats == source.cats
