import pytest
import spacy
import srsly
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_rnn.cli  # noqa: F401  (spaCy loads it through its entry point)

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
        "components.bilm.model.embed.width": 16,
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
