"""The quickstart's last step: one pipeline of three, and drawings."""

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
    config = {}
    if name == "rnn_textcat":
        config = {"attention_key": "attention", "model": {"pooling": ["mean", "attention"]}}
    nlp.add_pipe(name, config=config)
    words = ["Ada", "saw", "Rome", "<", "Oslo"]
    known = {
        "tags": ["NNP", "VBD", "NNP", ":", "NNP"],
        "ents": ["B-PERSON", "O", "B-LOC", "O", "O"],
    }
    reference = Doc(nlp.vocab, words=words, **known)
    reference.cats = {"travel": 1.0, "food": 0.0}
    examples = [Example(Doc(nlp.vocab, words=words), reference)]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(60):
        nlp.update(examples, sgd=optimizer)
    return nlp


def test_components_become_one_pipeline_and_entities_drawings(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    paths = [tmp_path / name for name in ("rnn_tagger", "rnn_ner", "rnn_textcat")]
    for path in paths:
        make_pipeline(path.name).to_disk(path)
    pipeline, html = tmp_path / "pipeline", tmp_path / "new" / "entities.html"
    attention = tmp_path / "attention.html"
    show.show_cli(*paths, "Ada saw Rome < Oslo", pipeline, html, attention)
    nlp = spacy.load(pipeline)
    assert nlp.pipe_names == [path.name for path in paths]
    doc = nlp("Ada saw Rome < Oslo")
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Ada", "PERSON"), ("Rome", "LOC")]
    assert doc[1].tag_ == "VBD"
    page = html.read_text(encoding="utf8")
    (_, _, score), *_ = show.get_entities(doc)
    assert f"PERSON {score}" in page and show.COLORS["PERSON"] in page
    assert "&lt; Oslo" in page
    lines = [line.split() for line in capsys.readouterr().out.split("\n")]
    assert ["Ada", "PERSON", score] in lines
    assert ["travel", f"{doc.cats['travel']:.2f}"] in lines
    page = attention.read_text(encoding="utf8")
    assert page.count("<mark") == len(doc) and "travel" in page

    monkeypatch.syspath_prepend(PROJECT / "scripts")
    picture = load_script(PROJECT / "scripts" / "picture.py")
    picture.picture_cli(pipeline, "Ada saw Rome < Oslo", tmp_path / "entities.svg")
    svg = ElementTree.parse(tmp_path / "entities.svg").getroot()
    texts = [element.text for element in svg if element.tag.endswith("text")]
    assert texts[0] == "Ada" and texts[1] == f"PERSON {score}" and texts[-1] == "< Oslo"
