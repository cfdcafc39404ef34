import pytest
import spacy
from spacy.cli.train import train
from spacy.tokens import Doc, DocBin
from spacy.util import load_config, load_model_from_config
from thinc.api import Config

from ..conftest import ROOT
from .conftest import run

TAGGER = ROOT / "configs" / "tagger.cfg"


def test_a_language_model_is_added_to_a_config(language_model, tmp_path):
    config, weights = tmp_path / "tagger.cfg", language_model / "output" / "model-best"
    result = run("add-bilm", TAGGER, config, "-w", weights)
    assert result.exit_code == 0, result.output
    added = load_config(config, interpolate=False)
    assert added["paths"]["bilm"] == str(weights)
    assert added["components"]["bilm"]["model"]["width"] == 16
    assert "LexemeEmbed" in repr(added["components"]["rnn_tagger"])
    # The file is overwritten.
    result = run("add-bilm", TAGGER, config, "--weights", weights, "--alone", "--width", "8")
    assert result.exit_code == 0, result.output
    tagger = load_config(config)["components"]["rnn_tagger"]
    assert "LexemeEmbed" not in repr(tagger)
    assert tagger["model"]["tok2vec"]["embed"]["width"] == 8


@pytest.mark.slow
def test_the_config_trains(language_model, tmp_path):
    config, weights = tmp_path / "tagger.cfg", language_model / "output" / "model-best"
    assert run("add-bilm", TAGGER, config, "-w", weights).exit_code == 0
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["Two", "cats", "run"], tags=["CD", "NNS", "VBP"])
    DocBin(docs=[doc] * 20).to_disk(tmp_path / "train.spacy")
    changes = {
        "paths.train": str(tmp_path / "train.spacy"),
        "paths.dev": str(tmp_path / "train.spacy"),
        "training.max_steps": 1,
        "training.eval_frequency": 1,
    }
    train(config, tmp_path / "trained", overrides=changes)
    nlp = spacy.load(tmp_path / "trained" / "model-last")
    assert nlp.pipe_names == ["bilm", "rnn_tagger"]
    assert nlp("Two cats")[0].tag_ in {"CD", "NNS", "VBP"}


def test_a_config_is_made_before_its_language_model_of_one_direction(tmp_path):
    result = run("add-bilm", ROOT / "configs/ner.cfg", "-", "-w", ROOT / "configs/lm.cfg")
    assert result.exit_code == 0, result.output
    config = Config().from_str(result.output)
    assert config["paths"]["bilm"] is None
    assert config["components"]["bilm"]["factory"] == "bilm"
    assert load_model_from_config(config, auto_fill=True).pipe_names == ["bilm", "rnn_ner"]


def test_a_language_model_is_not_added_where_it_does_not_fit(language_model, tmp_path):
    weights, twice = language_model / "output" / "model-best", tmp_path / "twice.cfg"
    assert run("add-bilm", TAGGER, twice, "--weights", weights).exit_code == 0
    spacy.blank("en").to_disk(tmp_path / "blank")
    for config, source, message in [
        (twice, weights, "already has a language model"),
        (tmp_path / "blank" / "config.cfg", weights, "no embedding layer"),
        (TAGGER, tmp_path / "blank", "one language model"),
        (TAGGER, tmp_path, "Can't read the config"),
    ]:
        result = run("add-bilm", config, tmp_path / "out.cfg", "--weights", source)
        assert result.exit_code == 1
        assert message in " ".join(result.output.split())
    assert not (tmp_path / "out.cfg").exists()
