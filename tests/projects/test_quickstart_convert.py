"""The quickstart's corpus and its converter."""

from itertools import combinations
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
LINE = "feedback\t\"/`` We/PRP did/VBD n't/RB see/VB [New/NNP York/NNP]LOC !/. \"/''"


def test_line_is_parsed_and_detokenised() -> None:
    sentence = parse_line(LINE, "here:1")
    assert sentence.category == "feedback"
    assert sentence.entities == [(5, 7, "LOC")]
    spaces = guess_spaces(sentence.words, sentence.tags)
    text = "".join(w + " " * s for w, s in zip(sentence.words, spaces, strict=True))
    assert text == '"We didn\'t see New York!"'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("feedback We/PRP left/VBD", "no TAB"),
        ("complaint\tWe/PRP left/VBD", "unknown category"),
        ("feedback\tWe/PRP left", "has no tag"),
        ("feedback\tWe/PRP  left/VBD", "empty token"),
        ("feedback\t[New/NNP York/NNP is/VBZ big/JJ", "unclosed bracket"),
        ("feedback\t[New/NNP [York/NNP]LOC", "inside another entity"),
        ("feedback\tNew/NNP York/NNP]LOC", "none is open"),
        ("feedback\t[New/NNP York/NNP] is/VBZ big/JJ", "has no label"),
        ("feedback\tWe/PRP didn't/VBD go/VB", "not how spaCy splits"),
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


@pytest.fixture(scope="module")
def docs() -> dict[str, list]:
    nlp = spacy.blank("en")
    return {name: list(read_docs(ASSETS / f"{name}.txt", nlp)) for name in ("train", "dev", "test")}


def test_no_two_sentences_of_the_corpus_are_nearly_the_same(docs) -> None:
    words = [({t.lower_ for t in doc}, doc.text) for part in docs.values() for doc in part]
    for (first, one), (second, other) in combinations(words, 2):
        assert len(first & second) < 0.6 * len(first | second), (one, other)


# Words that have one tag wherever they stand
ONE_TAG = {
    "DT": "a an the every",
    "CC": "and or but",
    "MD": "can could should would must ca",
    "RB": "n't not too very never",
    "PRP$": "my your our their its",
    "PRP": "i you he she we they me him us them it",
    "IN": "of with from at by if for into",
    ":": ": ;",
    "UH": "please",
    "NN": "somebody someone nobody nothing tomorrow yesterday today",
}


def test_tags_of_the_corpus_are_consistent(docs) -> None:
    expected = {word: tag for tag, words in ONE_TAG.items() for word in words.split()}
    for doc in (doc for part in docs.values() for doc in part):
        for token in doc:
            if token.lower_ in expected and not (token.text == "May" and token.ent_type_):
                assert token.tag_ == expected[token.lower_], (token, doc.text)
            if token.ent_type_ in ("PERSON", "ORG", "LOC"):
                assert token.tag_ in ("NNP", "NNPS"), (token, doc.text)
            if token.lower_ == "to":
                following = doc[token.i + 1]
                assert (token.tag_ == "TO") == (following.tag_ in ("VB", "RB")), doc.text


def test_a_name_has_the_same_label_everywhere(docs) -> None:
    labels: dict[str, str] = {}
    for ent in (ent for part in docs.values() for doc in part for ent in doc.ents):
        assert labels.setdefault(ent.text, ent.label_) == ent.label_, ent.sent
