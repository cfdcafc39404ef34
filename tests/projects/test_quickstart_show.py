"""The quickstart's last step: one pipeline of two, and a drawing."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import spacy
from spacy.tokens import Doc
from spacy.training import Example

from ..conftest import ROOT, load_script

PROJECT = ROOT / "projects" / "quickstart"
show = load_script(PROJECT / "scripts" / "show.py")


def make_pipeline(name: str) -> spacy.Language:
    nlp = spacy.blank("en")
    nlp.add_pipe(name)
    words = ["Ada", "saw", "Rome", "<", "Oslo"]
    known = {
        "tags": ["NNP", "VBD", "NNP", ":", "NNP"],
        "ents": ["B-PERSON", "O", "B-LOC", "O", "O"],
    }
    examples = [Example(Doc(nlp.vocab, words=words), Doc(nlp.vocab, words=words, **known))]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(30):
        nlp.update(examples, sgd=optimizer)
    return nlp


def test_components_become_one_pipeline_and_entities_drawings(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    for name in ("rnn_tagger", "rnn_ner"):
        make_pipeline(name).to_disk(tmp_path / name)
    pipeline, html = tmp_path / "pipeline", tmp_path / "new" / "entities.html"
    show.show_cli(
        tmp_path / "rnn_tagger", tmp_path / "rnn_ner", "Ada saw Rome < Oslo", pipeline, html
    )
    nlp = spacy.load(pipeline)
    assert nlp.pipe_names == ["rnn_tagger", "rnn_ner"]
    doc = nlp("Ada saw Rome < Oslo")
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Ada", "PERSON"), ("Rome", "LOC")]
    assert doc[1].tag_ == "VBD"
    page = html.read_text(encoding="utf8")
    (_, _, score), *_ = show.get_entities(doc)
    assert f"PERSON {score}" in page and show.COLORS["PERSON"] in page
    assert "&lt; Oslo" in page
    assert ["Ada", "PERSON", score] in [
        line.split() for line in capsys.readouterr().out.split("\n")
    ]

    monkeypatch.syspath_prepend(PROJECT / "scripts")
    picture = load_script(PROJECT / "scripts" / "picture.py")
    picture.picture_cli(pipeline, "Ada saw Rome < Oslo", tmp_path / "entities.svg")
    svg = ElementTree.parse(tmp_path / "entities.svg").getroot()
    texts = [element.text for element in svg if element.tag.endswith("text")]
    assert texts[0] == "Ada" and texts[1] == f"PERSON {score}" and texts[-1] == "< Oslo"
