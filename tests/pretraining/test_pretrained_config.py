import pytest
import spacy

from spacy_rnn.pretraining.pretrained_config import adopt_settings, find_component, read_config

from .conftest import make_config

PREFIX = "components.bilm.model"


@pytest.fixture
def weights(texts, tmp_path):
    """The config of a pretrained model, under another name."""
    config = make_config(texts)
    config["components"]["lm"] = config["components"].pop("bilm")
    config["components"]["lm"]["model"].update(width=8, cell="gru", dropout=0.5)
    config["nlp"].update(lang="de", pipeline=["lm"], tokenizer={"@tokenizers": "other"})
    (tmp_path / "weights").mkdir()
    config.to_disk(tmp_path / "weights" / "config.cfg")
    return tmp_path / "weights"


def test_settings_of_weights_are_adopted(texts, weights):
    config = make_config(texts)
    config["components"]["bilm"]["model"]["dropout"] = 0.1
    changes = adopt_settings(config, "bilm", weights, {f"{PREFIX}.dropout": 0.1})
    model = config["components"]["bilm"]["model"]
    assert (model["width"], model["cell"], model["dropout"]) == (8, "gru", 0.1)
    assert config["nlp"]["lang"] == "de"
    assert config["nlp"]["tokenizer"] == {"@tokenizers": "other"}
    assert config["nlp"]["pipeline"] == ["bilm"]
    assert changes == {"nlp.lang": ("en", "de"), f"{PREFIX}.width": (16, 8)}


def test_the_command_line_may_not_contradict_weights(texts, weights):
    for setting in ("cell", "embed.width"):
        with pytest.raises(ValueError, match=f"{setting} = .* but the command line says 'lstm'"):
            adopt_settings(make_config(texts), "bilm", weights, {f"{PREFIX}.{setting}": "lstm"})
    config = make_config(texts)
    adopt_settings(config, "bilm", weights, {f"{PREFIX}.cell": "gru", "nlp.lang": "en"})
    assert config["nlp"]["lang"] == "en"


def test_one_language_model_is_found(texts, tmp_path):
    config = make_config(texts)
    assert find_component(config) == find_component(config, "bilm") == "bilm"
    with pytest.raises(ValueError, match=r"a language model 'tagger'.*it has 'bilm'"):
        find_component(config, "tagger")
    config["components"]["second"] = {"source": "other"}
    config["components"]["third"] = {"factory": "rnn_lm"}
    assert find_component(config, "third") == "third"
    with pytest.raises(ValueError, match=r"one language model.*it has 'bilm', 'third'"):
        find_component(config)
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ValueError, match=r"in 'here' needs one language model.*it has none"):
        find_component(read_config(tmp_path / "blank"), path="here")


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"Can't read the config.*nowhere"):
        read_config(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"Can't read the config.*config\.cfg"):
        read_config(tmp_path)
