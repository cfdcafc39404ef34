"""Mistakes in configs and data that were reported in spaCy's or Thinc's words for something else,
or not at all.
"""

import warnings

import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Config

from ..conftest import SMALL_TAGGER

TEXTCATS = ["rnn_textcat", "rnn_textcat_multilabel"]


def make_example(vocab, tags=("NNS", "VBP"), cats=None):
    gold = Doc(vocab, words=["Dogs", "bark"], tags=tags, ents=["B-X", "O"])
    gold.cats = {"A": 1.0, "B": 0.0} if cats is None else cats
    return Example(Doc(vocab, words=["Dogs", "bark"]), gold)


@pytest.mark.parametrize(
    "factory, source", [("rnn_tagger", "tag"), *((name, "cats") for name in TEXTCATS)]
)
def test_data_without_annotation(factory, source):
    nlp = spacy.blank("xx")
    nlp.add_pipe(factory)
    empty = make_example(nlp.vocab, tags=["", ""], cats={})
    with pytest.raises(ValueError, match=rf"'{factory}'.*labels.*{source}"):
        nlp.initialize(lambda: [empty])


def test_one_category_is_named():
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_textcat")
    with pytest.raises(ValueError, match="'rnn_textcat' needs 2 or more labels, and has 1: A"):
        nlp.initialize(lambda: [make_example(nlp.vocab, cats={"A": 1.0})])


@pytest.mark.parametrize("factory", ["rnn_tagger", "rnn_ner", *TEXTCATS])
def test_labels_of_another_component_are_refused_at_initialisation(factory):
    nlp = spacy.blank("xx")
    nlp.add_pipe(factory)
    examples = [make_example(nlp.vocab)]
    nlp.config["initialize"]["components"][factory] = {"labels": ["CARD", "RATE"]}
    with pytest.raises(ValueError, match=rf"'{factory}' was given \(CARD, RATE\)"):
        nlp.initialize(lambda: examples)


def test_a_corpus_with_one_tag_only_warns():
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_tagger")
    with pytest.warns(UserWarning, match="one tag only, '-'"):
        nlp.initialize(lambda: [make_example(nlp.vocab, tags=["-", "-"])])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = spacy.blank("xx")
        other.add_pipe("rnn_tagger")
        other.initialize(lambda: [make_example(other.vocab)])


def test_a_listener_of_another_width():
    nlp = spacy.blank("xx")
    nlp.add_pipe("tok2vec", config={"model": Config().from_str(SMALL_TAGGER)["model"]["tok2vec"]})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 24, "upstream": "*"}
    model = {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}
    nlp.add_pipe("rnn_tagger", config={"model": model})
    examples = [make_example(nlp.vocab)]
    optimizer = nlp.initialize(lambda: examples)
    expected = "'rnn_tagger' listens.*width 24, and gets them 16 wide: set width = 16"
    with pytest.raises(ValueError, match=expected):
        nlp.update(examples, sgd=optimizer)
    with pytest.raises(ValueError, match=expected):
        nlp("Dogs bark")


def test_weights_of_another_size(tmp_path):
    def make(tags):
        nlp = spacy.blank("xx")
        nlp.add_pipe("rnn_tagger", config={"model": Config().from_str(SMALL_TAGGER)["model"]})
        nlp.initialize(lambda: [make_example(nlp.vocab, tags=tags)])
        return nlp

    make(["NNS", "VBP"]).to_disk(tmp_path)
    expected = r"rnn_tagger/model'.*other sizes: here nO of layer .* is 1\. Build the pipeline from"
    with pytest.warns(UserWarning, match="one tag only"):
        other = make(["NNS", "NNS"])
    with pytest.raises(ValueError, match=expected):
        other.from_disk(tmp_path)


def test_texts_without_categories_teach_a_classifier_nothing():
    nlp = spacy.blank("xx")
    textcat = nlp.add_pipe("rnn_textcat")
    examples = [make_example(nlp.vocab, cats=cats) for cats in ({"A": 1.0, "B": 0.0}, {})]
    nlp.initialize(lambda: examples)
    scores = textcat.model.predict([eg.predicted for eg in examples])
    loss, gradient = textcat.get_loss(examples, scores)
    assert loss > 0 and gradient[0].any() and not gradient[1].any()
