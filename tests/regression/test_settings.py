"""Misspelt settings, settings as attributes and settings at load did nothing and said nothing."""

import copy
import json
import pickle
import warnings

import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Config

from spacy_rnn.pipeline.settings import CONFIGURED, get_settings

from ..conftest import SMALL_TAGGER
from ..pipeline.test_rnn_ner import make_config

FACTORIES = [
    "rnn_tagger",
    "rnn_morphologizer",
    "rnn_parser",
    "rnn_ner",
    "rnn_textcat",
    "rnn_textcat_multilabel",
    "rnn_tok2vec",
    "rnn_lemmatizer",
    "rnn_transducer",
]


def make_nlp(**settings):
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_ner", config={"model": make_config(), **settings}).add_label("PER")
    nlp.initialize()
    return nlp


@pytest.mark.parametrize("factory", FACTORIES)
def test_factories_have_the_defaults_of_the_settings(factory):
    nlp = spacy.blank("xx")
    component = nlp.add_pipe(factory)
    defaults = nlp.get_pipe_meta(factory).default_config
    for name, setting in get_settings(type(component)).items():
        assert name in defaults and defaults[name] == getattr(component, name)
        if (factory, name) != ("rnn_textcat_multilabel", "threshold"):
            assert defaults[name] == setting.default


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("copied", [False, True])
def test_a_setting_that_does_not_exist_is_an_error(factory, copied):
    component = spacy.blank("xx").add_pipe(factory)
    if copied:
        component = pickle.loads(pickle.dumps(copy.deepcopy(component)))
    before = dict(component.cfg)
    with pytest.raises(ValueError, match=rf"'{factory}' has no setting 'thresold'"):
        component.cfg["thresold"] = 0.5
    with pytest.raises(ValueError, match="has no setting"):
        component.cfg.update({"thresold": 0.5})
    assert component.cfg == before


def test_settings_are_properties_and_are_kept(tmp_path):
    nlp = make_nlp()
    ner = nlp.get_pipe("rnn_ner")
    ner.threshold = 0.5
    assert ner.cfg["threshold"] == 0.5
    ner.cfg["threshold"] = 0.6
    assert ner.threshold == 0.6
    nlp.to_disk(tmp_path)
    assert spacy.load(tmp_path).get_pipe("rnn_ner").threshold == pytest.approx(0.6)
    with pytest.raises(ValueError, match=r"'rnn_tagger'.*overwrite = 'yes'"):
        spacy.blank("xx").add_pipe("rnn_tagger").overwrite = "yes"


@pytest.mark.parametrize("changed", [None, 0.4])
def test_the_config_at_load_overrides_what_was_stored(tmp_path, changed):
    nlp = make_nlp(threshold=0.3)
    if changed is not None:
        nlp.get_pipe("rnn_ner").threshold = changed
    nlp.to_disk(tmp_path / "first")
    loaded = spacy.load(tmp_path / "first", config={"components.rnn_ner.threshold": 0.99})
    assert loaded.get_pipe("rnn_ner").threshold == pytest.approx(0.99)
    loaded.to_disk(tmp_path / "second")
    assert spacy.load(tmp_path / "second").get_pipe("rnn_ner").threshold == pytest.approx(0.99)
    again = spacy.load(tmp_path / "first").get_pipe("rnn_ner")
    assert again.threshold == pytest.approx(changed or 0.3)
    with pytest.raises(ValueError, match="threshold = 7"):
        spacy.load(tmp_path / "first", config={"components.rnn_ner.threshold": 7})


def test_a_pipeline_built_with_defaults_takes_what_was_stored():
    stored = make_nlp(threshold=0.3, temperature=2.0).to_bytes()
    ner = make_nlp().from_bytes(stored).get_pipe("rnn_ner")
    assert (ner.threshold, ner.temperature) == pytest.approx((0.3, 2.0))


def test_what_an_older_version_stored_wins_and_says_so(tmp_path):
    make_nlp(threshold=0.3).to_disk(tmp_path)
    path = tmp_path / "rnn_ner" / "cfg"
    cfg = json.loads(path.read_text())
    del cfg[CONFIGURED]
    path.write_text(json.dumps(cfg))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spacy.load(tmp_path).get_pipe("rnn_ner").threshold == pytest.approx(0.3)
    with pytest.warns(UserWarning, match=r"keeps threshold = 0\.3\d*\. .*\.threshold = 0\.99"):
        spacy.load(tmp_path, config={"components.rnn_ner.threshold": 0.99})


def test_another_components_file_is_refused_by_name(tmp_path):
    make_nlp().to_disk(tmp_path)
    path = tmp_path / "rnn_ner" / "cfg"
    path.write_text(json.dumps(dict(spacy.blank("xx").add_pipe("rnn_tagger").cfg)))
    with pytest.raises(ValueError, match=r"rnn_ner/cfg.*no setting 'label_smoothing'"):
        spacy.load(tmp_path)


def test_posterior_decoding_without_a_threshold_warns_once():
    nlp = make_nlp(decoding="posterior")
    with pytest.warns(UserWarning, match=r"threshold = 0\.0.*0\.01"):
        nlp("Some text")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp("Some text")


@pytest.mark.parametrize("factory", ["rnn_tagger", "rnn_morphologizer", "rnn_ner", "rnn_textcat"])
def test_a_listener_without_its_tok2vec_says_so(factory):
    nlp = spacy.blank("xx")
    tok2vec = Config().from_str(SMALL_TAGGER)["model"]["tok2vec"]
    nlp.add_pipe("tok2vec", config={"model": tok2vec})
    model = nlp.get_factory_meta(factory).default_config["model"]
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16, "upstream": "*"}
    model = {**model, "tok2vec": listener}
    nlp.add_pipe(factory, config={"model": model})
    gold = Doc(nlp.vocab, words=["Dogs", "bark"], tags=["NNS", "VBP"], pos=["NOUN", "VERB"])
    gold.set_ents([spacy.tokens.Span(gold, 0, 1, "X")])
    gold.cats = {"A": 1.0, "B": 0.0}
    examples = [Example(nlp.make_doc("Dogs bark"), gold)]
    optimizer = nlp.initialize(lambda: examples)
    nlp.update(examples, sgd=optimizer)
    nlp("Dogs bark")
    other = spacy.blank("xx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other.add_pipe(factory, source=nlp)
    assert len(other("")) == 0
    with pytest.raises(ValueError, match=rf"'{factory}' listens to a tok2vec.*'Dogs bark'"):
        other("Dogs bark")
