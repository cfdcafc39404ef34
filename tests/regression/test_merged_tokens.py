"""Probabilities were kept by token: after `merge_entities` a Doc could not be stored, or they
belonged to other words.
"""

import json

import pytest
import spacy
from spacy.tokens import Doc, DocBin

from spacy_rnn.pipeline.attention_html import render_attention

TEXT = "Yesterday I met Lena Osei and Tom"
ENTITIES = [(3, 5, 0, 0.9), (6, 7, 0, 0.75)]
EXPECTED = {"Lena Osei": 0.9, "Tom": 0.75}


@pytest.fixture
def nlp():
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_ner").add_label("PER")
    nlp.initialize()
    nlp.add_pipe("merge_entities")
    return nlp


@pytest.fixture
def doc(nlp):
    doc = nlp.make_doc(TEXT)
    nlp.get_pipe("rnn_ner").set_annotations([doc], [ENTITIES])
    return doc


def read(doc):
    return {ent.text: ent._.probability for ent in doc.ents}


def test_probabilities_are_plain_numbers(doc):
    assert json.loads(json.dumps(read(doc))) == EXPECTED
    assert doc[0:1]._.probability is None
    assert not doc.spans


def test_they_survive_merging_and_splitting(nlp, doc):
    nlp.get_pipe("merge_entities")(doc)
    assert len(doc) == 6 and read(doc) == EXPECTED
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:2])
    assert read(doc) == EXPECTED
    with doc.retokenize() as retokenizer:
        retokenizer.split(doc[0], ["Yesterday", " I"], heads=[doc[0], doc[0]])
    assert read(doc) == EXPECTED


@pytest.mark.parametrize("merge", [False, True])
def test_they_survive_storing_and_joining(nlp, doc, merge):
    if merge:
        nlp.get_pipe("merge_entities")(doc)
    assert read(Doc(nlp.vocab).from_bytes(doc.to_bytes())) == EXPECTED
    bin_ = DocBin(docs=[doc], store_user_data=True)
    assert read(next(iter(bin_.get_docs(nlp.vocab)))) == EXPECTED
    first, last = doc.ents
    part = doc[first.start : last.end].as_doc(copy_user_data=True)
    assert read(part) == EXPECTED
    joined = Doc.from_docs([nlp.make_doc("Hello there."), doc])
    assert read(joined) == EXPECTED
    spans = doc.to_json(underscore=["probability"])["underscore_span"]["probability"]
    assert {TEXT[span["start"] : span["end"]]: span["value"] for span in spans} == EXPECTED


def test_two_processes(nlp):
    texts = [TEXT] * 6
    ner = nlp.get_pipe("rnn_ner")
    # The model has learned nothing: whatever is probable will do.
    ner.decoding, ner.threshold = "posterior", 0.05
    expected = [read(doc) for doc in nlp.pipe(texts)]
    assert any(expected)
    assert [read(doc) for doc in nlp.pipe(texts, n_process=2, batch_size=3)] == expected


def test_entities_that_were_there_are_certain_unless_a_probability_is_known(nlp, doc):
    nlp.add_pipe("rnn_ner", name="second").add_label("LOC")
    first = nlp.make_doc(TEXT)
    first.set_ents([first[3:5].char_span(0, 9, label="PER")])
    nlp.get_pipe("rnn_ner").set_annotations([first], [[ENTITIES[1]]])
    assert read(first) == {"Lena Osei": 1.0, "Tom": 0.75}
    nlp.get_pipe("second").set_annotations([doc], [[(0, 1, 0, 0.5)]])
    assert read(doc) == {"Yesterday": 0.5, **EXPECTED}


def test_attention_is_drawn_after_merging_splitting_and_cutting():
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_textcat", config={"attention_key": "attention"})
    examples = [
        spacy.training.Example.from_dict(nlp.make_doc(text), {"cats": {"A": a, "B": 1.0 - a}})
        for text, a in (("My card is lost", 1.0), ("The rate is high", 0.0))
    ]
    nlp.initialize(lambda: examples)
    doc = nlp(TEXT)
    weights = [token._.attention for token in doc]
    assert sum(weights) == pytest.approx(1.0, abs=1e-4)
    assert weights == pytest.approx(doc.user_data["attention"].mean(axis=1).tolist())
    part = doc[3:6].as_doc(copy_user_data=True)
    assert [token._.attention for token in part] == weights[3:6]
    assert f'title="{weights[4]:.3f}">Osei' in render_attention(part, "attention")
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[3:5])
    assert doc[3]._.attention == pytest.approx(weights[3] + weights[4])
    html = render_attention(doc, "attention")
    assert f'title="{doc[3]._.attention:.3f}">Lena Osei' in html
    with doc.retokenize() as retokenizer:
        retokenizer.split(doc[0], ["Yester", "day"], heads=[doc[0], doc[0]])
    assert html.count("<mark") + 1 == render_attention(doc, "attention").count("<mark")
    with pytest.raises(ValueError, match=r"no weights.*copy that one's user_data"):
        render_attention(doc[3:5].as_doc(), "attention")
