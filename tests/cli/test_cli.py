import pytest
import spacy
import srsly
from spacy.cli._util import app
from spacy.cli.train import train
from spacy.tokens import Doc, DocBin
from spacy.util import load_config, load_model_from_config
from thinc.api import Config
from typer.testing import CliRunner

import spacy_rnn.cli  # noqa: F401  (spaCy loads it through its entry point)
from spacy_rnn.cli import info

from ..conftest import ROOT


def test_the_command_group_is_there():
    result = CliRunner().invoke(app, ["rnn", "info"])
    assert result.exit_code == 0, result.output
    assert "spacy-rnn" in result.output and "torch" in result.output
    assert "info" in CliRunner().invoke(app, ["rnn", "--help"]).output


TEXTS = ["The old dog sleeps in the garden .", "Two cats see the dog and run ."] * 30


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """A directory with texts, a config and what pretraining made of them."""
    path = tmp_path_factory.mktemp("lm")
    (path / "texts.txt").write_text("\n".join(TEXTS))
    options = {
        "paths.train": path / "texts.txt",
        "paths.dev": path / "texts.txt",
        "components.bilm.model.width": 16,
        "components.bilm.model.cutoffs": "[5]",
        "lm_pretraining.n_rows": 4,
        "lm_pretraining.n_steps": 8,
        "lm_pretraining.max_steps": 6,
        "lm_pretraining.eval_frequency": 3,
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    config = str(ROOT / "configs" / "bilm.cfg")
    result = run("pretrain", config, str(path / "output"), *arguments)
    assert result.exit_code == 0, result.output
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["rnn", *arguments])


def test_pretraining_shows_where_it_is(language_model):
    again = run("pretrain", str(ROOT / "configs" / "bilm.cfg"), str(language_model / "output"))
    assert again.exit_code == 1
    assert "empty" in again.output
    log = (language_model / "output" / "log.jsonl").read_text()
    assert len(log.splitlines()) == 2


def test_a_language_model_is_evaluated(language_model, tmp_path):
    model, output = str(language_model / "output" / "model-best"), tmp_path / "figures.json"
    text = str(language_model / "texts.txt")
    result = run("evaluate-lm", model, text, "--output", str(output))
    assert result.exit_code == 0, result.output
    figures = srsly.read_json(output)
    assert set(figures) == {"forward", "backward"}
    n_words = sum(len(text.split()) for text in TEXTS)
    for values in figures.values():
        assert 1 < values["perplexity"] < 1000
        assert (values["words"], values["texts"]) == (n_words, len(TEXTS))
        assert values["unknown_words"] == 0
    assert "Unknown words" in result.output
    missing = run("evaluate-lm", model, str(tmp_path / "nowhere"))
    assert missing.exit_code == 1
    assert "nowhere" in missing.output.replace("\n", "")


def test_a_language_model_generates(language_model):
    model = str(language_model / "output" / "model-best")
    options = ["--prompt", "The old", "--max-words", "5", "--seed", "3"]
    first, second = run("generate", model, *options), run("generate", model, *options)
    assert first.exit_code == 0, first.output
    assert first.output == second.output
    assert first.output.startswith("The old")
    assert run("generate", model, "--temperature", "-1").exit_code == 1


def test_a_language_model_is_asked_about_agreement(language_model, tmp_path):
    model = str(language_model / "output" / "model-best")
    tasks = tmp_path / "NA_tasks"
    tasks.mkdir()
    rows = ["the dog sleeps\tsingular\tcorrect\tid1", "the dog run\tsingular\twrong\tid1"]
    (tasks / "simple.txt").write_text("\n".join(rows))
    output, chart = tmp_path / "figures.json", tmp_path / "chart.png"
    result = run("agreement", model, str(tasks), "-o", str(output), "--chart", str(chart))
    assert result.exit_code == 0, result.output
    assert srsly.read_json(output)["simple"]["singular"]["n_items"] == 1
    assert "singular" in result.output
    assert run("agreement", model, str(language_model / "texts.txt")).exit_code == 1


def test_other_pipelines_have_no_language_model(tmp_path):
    spacy.blank("en").to_disk(tmp_path)
    result = run("generate", str(tmp_path))
    assert result.exit_code == 1
    assert "spacy-rnn.BiLM.v1" in result.output


def test_a_language_model_is_added_to_a_config_that_trains(language_model, tmp_path):
    config, weights = tmp_path / "tagger.cfg", language_model / "output" / "model-best"
    result = run("add-bilm", str(ROOT / "configs" / "tagger.cfg"), str(config), "-w", str(weights))
    assert result.exit_code == 0, result.output
    added = load_config(config, interpolate=False)
    assert added["paths"]["bilm"] == str(weights)
    assert added["components"]["bilm"]["model"]["width"] == 16
    # Which is overwritten, as spaCy's `init fill-config` does.
    options = ["--weights", str(weights), "--alone", "--width", "8"]
    result = run("add-bilm", str(ROOT / "configs" / "tagger.cfg"), str(config), *options)
    assert result.exit_code == 0, result.output
    assert "LexemeEmbed" not in load_config(config)["components"]["rnn_tagger"].__repr__()
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


def test_a_config_is_made_for_a_language_model_of_one_direction_that_is_not_there_yet(tmp_path):
    configs = [str(ROOT / "configs" / name) for name in ("ner.cfg", "lm.cfg")]
    result = run("add-bilm", configs[0], "-", "--weights", configs[1])
    assert result.exit_code == 0, result.output
    config = Config().from_str(result.output)
    assert config["paths"]["bilm"] is None
    assert config["components"]["bilm"]["factory"] == "bilm"
    assert load_model_from_config(config, auto_fill=True).pipe_names == ["bilm", "rnn_ner"]


def test_a_language_model_is_not_added_where_it_does_not_fit(language_model, tmp_path):
    weights, output = str(language_model / "output" / "model-best"), str(tmp_path / "out.cfg")
    tagger, twice = str(ROOT / "configs" / "tagger.cfg"), str(tmp_path / "twice.cfg")
    assert run("add-bilm", tagger, twice, "--weights", weights).exit_code == 0
    spacy.blank("en").to_disk(tmp_path / "blank")
    for config, source, message in [
        (twice, weights, "has a language model"),
        (str(tmp_path / "blank" / "config.cfg"), weights, "no embedding layer"),
        (tagger, str(tmp_path / "blank"), "one language model; it has none"),
        (tagger, str(tmp_path), "Can't read the config"),
    ]:
        result = run("add-bilm", config, output, "--weights", source)
        assert result.exit_code == 1
        assert message in " ".join(result.output.split())
    assert not (tmp_path / "out.cfg").exists()


@pytest.mark.parametrize("value, todo", [("none", "Unset"), (None, "GCC")])
def test_missing_kernels_are_said(monkeypatch, value, todo):
    if value:
        monkeypatch.setenv("SPACY_RNN_KERNELS", value)
    else:
        monkeypatch.delenv("SPACY_RNN_KERNELS", raising=False)
    for instructions in ("avx2", None):
        monkeypatch.setattr(info, "INSTRUCTIONS", instructions)
        output = run("info").output
        assert ("No compiled kernels" in output) == (todo in output) == (instructions is None)
