"""Batches of texts in, columns out: what the workers of an engine call."""

import json
import pickle
import random
from pathlib import Path
from string import ascii_lowercase

import numpy
import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Example

import spacy_rnn
from spacy_rnn import batch
from spacy_rnn.batch import COLUMNS, BatchPipeline

TEXTS = ["Ada saw Rome .", "", "Ada .", "Oslo saw « Ada » ."]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A pipeline of three components that has learned one sentence."""
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_tagger")
    nlp.add_pipe("rnn_ner", config={"extension_prefix": "my_"})
    nlp.add_pipe("rnn_textcat")
    words = TEXTS[0].split()
    gold = Doc(nlp.vocab, words=words, tags=["NNP", "VBD", "NNP", "."])
    gold.ents = [spacy.tokens.Span(gold, 0, 1, "PERSON")]
    gold.cats = {"news": 1.0, "letter": 0.0}
    examples = [Example(Doc(nlp.vocab, words=words), gold)]
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.005
    for _ in range(15):
        nlp.update(examples, sgd=optimizer)
    path = tmp_path_factory.mktemp("batch") / "pipeline"
    nlp.to_disk(path)
    return path


def test_columns_are_what_the_pipeline_finds(path):
    nlp = spacy.load(path)
    columns = BatchPipeline(path, columns=COLUMNS)(TEXTS)
    assert tuple(columns) == COLUMNS
    read = {name: list(map(json.loads, columns[name])) for name in COLUMNS if name != "docbin"}
    n_entities = 0
    for i, doc in enumerate(nlp.pipe(TEXTS)):
        assert read["tokens"][i] == [token.text for token in doc]
        assert read["tags"][i] == [token.tag_ for token in doc]
        assert read["cats"][i] == doc.cats and len(doc.cats) == 2
        assert read["entities"][i] == [
            {
                "start": ent.start_char,
                "end": ent.end_char,
                "label": ent.label_,
                "text": ent.text,
                "probability": ent._.my_probability,
            }
            for ent in doc.ents
        ]
        n_entities += len(doc.ents)
        (stored,) = DocBin().from_bytes(columns["docbin"][i]).get_docs(nlp.vocab)
        assert stored.text == doc.text and stored.cats == doc.cats
        assert [token.tag_ for token in stored] == [token.tag_ for token in doc]
        found = [(ent.label_, ent._.my_probability) for ent in stored.ents]
        assert found == [(ent.label_, ent._.my_probability) for ent in doc.ents]
    assert n_entities


def test_other_recognisers_have_no_probability(tmp_path):
    nlp = spacy.blank("xx")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Ada"}])
    nlp.to_disk(tmp_path)
    (value,) = BatchPipeline(tmp_path, columns=["entities"])(TEXTS[:1])["entities"]
    (entity,) = json.loads(value)
    assert entity == {"start": 0, "end": 3, "label": "PERSON", "text": "Ada", "probability": None}


def test_a_process_loads_once_whatever_copies_it_is_sent(path, monkeypatch):
    loaded = []
    load = spacy.load
    monkeypatch.setattr(spacy, "load", lambda name: loaded.append(name) or load(name))
    batch._load.cache_clear()
    annotate = BatchPipeline(path)
    first = annotate(TEXTS)
    sent = pickle.dumps(annotate)
    assert len(sent) < 500
    assert pickle.loads(sent)(TEXTS) == first == annotate(TEXTS)
    assert loaded == [str(path)]


def test_a_relative_path_is_of_the_directory_where_it_is_made(path, tmp_path, monkeypatch):
    monkeypatch.chdir(path.parent)
    annotate = BatchPipeline("pipeline")
    monkeypatch.chdir(tmp_path)
    assert len(annotate(TEXTS)["tags"]) == len(TEXTS)
    assert BatchPipeline("en_some_package").path == "en_some_package"


def test_new_words_are_forgotten_after_the_batch(path):
    annotate = BatchPipeline(path, columns=COLUMNS)
    annotate(TEXTS)
    nlp = batch._load(str(path))
    rng = random.Random(0)
    before = len(nlp.vocab.strings), len(list(nlp.vocab))
    for _ in range(3):
        annotate([" ".join("".join(rng.choices(ascii_lowercase, k=9)) for _ in range(20))])
    assert (len(nlp.vocab.strings), len(list(nlp.vocab))) == before


def test_threads_are_what_the_engine_gave(path, monkeypatch):
    calls = []
    monkeypatch.setattr(spacy_rnn, "set_num_threads", calls.append)
    BatchPipeline(path)(TEXTS)
    assert calls == []
    BatchPipeline(path, n_threads=3)(TEXTS)
    assert calls == [3]


def test_strings_of_numpy_are_texts(path):
    annotate = BatchPipeline(path, columns=["tags", "docbin"])
    assert annotate(numpy.array(TEXTS)) == annotate(numpy.array(TEXTS, dtype=object))
    assert annotate([]) == {"tags": [], "docbin": []}


@pytest.mark.parametrize("text", [None, float("nan"), b"Ada", 1])
def test_a_row_without_a_text_is_named(path, text):
    with pytest.raises(ValueError, match=r"Text 2 of the batch is .* not a string"):
        BatchPipeline(path)([*TEXTS[:2], text])


@pytest.mark.parametrize("columns", [["tags", "lemmas"], []])
def test_unknown_columns_are_refused(columns):
    with pytest.raises(ValueError, match="choose one or more of tokens, tags, entities"):
        BatchPipeline("pipeline", columns=columns)


def test_dropped_texts_are_an_error(path, monkeypatch):
    nlp = spacy.load(path)
    nlp.set_error_handler(lambda *args: None)
    monkeypatch.setattr(nlp.get_pipe("rnn_tagger"), "predict", lambda docs: 1 / 0)
    monkeypatch.setattr(batch, "_load", lambda path: nlp)
    with pytest.raises(ValueError, match="returned 0 Docs for 4 texts"):
        BatchPipeline(Path("pipeline"))(TEXTS)
