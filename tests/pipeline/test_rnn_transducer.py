"""Strings from any attribute to any other."""

import pytest
import spacy
from spacy.tokens import Doc, Token
from spacy.training import Example

from ..conftest import train_component
from .test_rnn_lemmatizer import make_model

PAIRS = {"colour": "color", "honour": "honor", "labour": "labor", "night": "nite", "blue": "blue"}


def make_nlp(steps=100, source="TEXT", target="NORM", **settings):
    def make_examples(nlp):
        words = list(PAIRS)
        predicted, gold = (Doc(nlp.vocab, words=words) for _ in range(2))
        for doc in (predicted, gold):
            for token in doc:
                write(token, source, token.text)
        for token in gold:
            write(token, target, PAIRS[token.text])
        return [Example(predicted, gold)]

    config = {"source": source, "target": target, "model": make_model(), "min_edit_freq": 1}
    return train_component("rnn_transducer", {**config, **settings}, make_examples, steps=steps)


def write(token, attribute, value):
    if attribute.startswith("_."):
        token._.set(attribute[2:], value)
    elif attribute == "NORM":
        token.norm_ = value
    elif attribute == "LEMMA":
        token.lemma_ = value


def read(token, attribute):
    if attribute.startswith("_."):
        return token._.get(attribute[2:])
    return {"NORM": token.norm_, "LEMMA": token.lemma_}[attribute]


@pytest.fixture
def no_extensions():
    yield
    for name in ("written", "spelled"):
        if Token.has_extension(name):
            Token.remove_extension(name)


@pytest.mark.parametrize(
    "source, target",
    [("TEXT", "NORM"), ("NORM", "LEMMA"), ("TEXT", "_.written"), ("_.spelled", "_.written")],
)
@pytest.mark.parametrize("use_edits", [True, False])
def test_strings_are_written_from_strings(no_extensions, source, target, use_edits, tmp_path):
    nlp = make_nlp(source=source, target=target, use_table=False, use_edits=use_edits)
    nlp.to_disk(tmp_path)
    for found in (nlp, spacy.load(tmp_path)):
        doc = Doc(found.vocab, words=list(PAIRS))
        for token in doc:
            write(token, source, token.text)
        found(doc)
        assert [read(token, target) for token in doc] == list(PAIRS.values())


def test_its_score_is_the_share_of_right_strings():
    nlp = make_nlp(steps=0)
    words = ["colour", "blue", "sky"]
    predicted, gold = (Doc(nlp.vocab, words=words) for _ in range(2))
    for token, norm in zip(gold, ["color", "blue", "Sky"], strict=True):
        token.norm_ = norm
    scores = nlp.evaluate([Example(predicted, gold)])
    assert scores["transducer_acc"] == pytest.approx(2 / 3)


def test_what_is_improbable_is_copied():
    nlp = make_nlp(threshold=1.0)
    assert [token.norm_ for token in nlp("Colours night")] == ["Colours", "nite"]


def test_what_is_set_is_kept_unless_it_shall_be_overwritten():
    for overwrite, expected in [(False, "hue"), (True, "color")]:
        nlp = make_nlp(steps=0, overwrite=overwrite)
        doc = nlp.make_doc("colour")
        doc[0].norm_ = "hue"
        assert nlp(doc)[0].norm_ == expected


@pytest.mark.parametrize(
    "settings", [{"source": "SHAPE"}, {"target": "TEXT"}, {"target": "_."}, {"source": "_.a b"}]
)
def test_invalid_attributes_are_named(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=rf"'rnn_transducer': Setting {name} = .*'_.NAME'"):
        make_nlp(steps=0, **settings)
