"""Importing the package registered extension attributes, in every process where it was installed:
other packages could not register the same names, and lost their values.
"""

import copy
import pickle
import subprocess
import sys
import warnings

import pytest
import spacy
from spacy.tokens import Doc, Span, Token

from spacy_rnn.pipeline.extensions import Stored

from ..conftest import SMALL_BILM

NAMES = [
    (Doc, "bilm"),
    (Doc, "surprisals"),
    (Doc, "perplexity"),
    (Token, "surprisal"),
    (Span, "surprisal"),
    (Span, "probability"),
]


@pytest.fixture(autouse=True)
def no_extensions():
    """Take away all of ours, and what the test adds."""
    before = [(holder, dict(extensions)) for holder, extensions in get_registered()]
    for holder, name in NAMES:
        if holder.has_extension(name):
            holder.remove_extension(name)
    yield
    for (_, extensions), (_, old) in zip(get_registered(), before, strict=True):
        extensions.clear()
        extensions.update(old)


def get_registered():
    underscore = spacy.tokens.underscore.Underscore
    return [
        (Doc, underscore.doc_extensions),
        (Span, underscore.span_extensions),
        (Token, underscore.token_extensions),
    ]


IMPORT = """
import os, warnings
import spacy, torch
before = torch.get_num_threads(), list(warnings.filters), dict(os.environ)
from importlib.metadata import entry_points
found = [point.load() for group in ("spacy_factories", "spacy_architectures", "spacy_cli")
         for point in entry_points(group=group) if point.value.startswith("spacy_rnn")]
assert len(found) > 10
nlp = spacy.blank("xx")
from spacy.tokens import Doc, Span, Token
from spacy.tokens.underscore import Underscore
assert not any(Underscore.get_state()), Underscore.get_state()
assert (torch.get_num_threads(), list(warnings.filters), dict(os.environ)) == before
"""


def test_importing_the_package_changes_nothing():
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", IMPORT], check=True)


@pytest.mark.parametrize("factory", ["rnn_lm", "bilm", "rnn_ner"])
@pytest.mark.parametrize("restore", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_they_are_registered_when_a_component_is_made_or_restored(factory, restore):
    component = spacy.blank("xx").add_pipe(factory)
    expected = {(ext.holder, ext.name) for ext in component.extensions}
    assert expected <= set(NAMES) and all(ext.is_ours for ext in component.extensions)
    for holder, name in expected:
        holder.remove_extension(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restored = restore(component)
    assert all(ext.is_ours for ext in restored.extensions)


@pytest.mark.parametrize("factory", ["rnn_lm", "bilm", "rnn_ner"])
def test_a_name_that_is_taken_is_left_alone_with_a_warning(factory):
    for holder, name in NAMES:
        holder.set_extension(name, default="theirs")
    nlp = spacy.blank("xx")
    with pytest.warns(UserWarning, match=rf"{factory}.*_\..*extension_prefix"):
        nlp.add_pipe(factory)
    assert nlp.make_doc("a")._.perplexity == "theirs"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        component = spacy.blank("xx").add_pipe(factory, config={"extension_prefix": "rnn_"})
    assert all(ext.name.startswith("rnn_") and ext.is_ours for ext in component.extensions)


def test_nothing_is_written_where_the_name_is_taken():
    Span.set_extension("probability", default="theirs")
    nlp = spacy.blank("xx")
    with pytest.warns(UserWarning, match=r"span\._\.probability"):
        ner = nlp.add_pipe("rnn_ner")
    ner.add_label("PER")
    doc = nlp.make_doc("I met Lena Osei")
    ner.set_annotations([doc], [[(2, 4, 0, 0.9)]])
    assert doc.ents[0]._.probability == "theirs"


def test_a_language_model_with_a_prefix_feeds_its_listeners():
    config = spacy.util.load_config_from_str("[components]\n" + SMALL_BILM)["components"]["bilm"]
    nlp = spacy.blank("xx")
    nlp.add_pipe(config.pop("factory"), config={**config, "extension_prefix": "my_"})
    listener = {"@architectures": "spacy-rnn.BiLMListener.v1", "width": 8}
    nlp.add_pipe(
        "rnn_tagger", config={"model": {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}}
    )
    gold = Doc(nlp.vocab, words=["Dogs", "bark"], tags=["NNS", "VBP"])
    with pytest.warns(UserWarning, match="random"):
        nlp.initialize(lambda: [spacy.training.Example(nlp.make_doc("Dogs bark"), gold)])
    doc = nlp("Dogs bark")
    assert doc._.my_bilm.shape[1] == 2 and not Doc.has_extension("bilm")
    assert all(token.tag_ for token in doc)


def test_getters_are_equal_by_value():
    assert pickle.loads(pickle.dumps(Stored("a"))) == Stored("a") != Stored("b")
