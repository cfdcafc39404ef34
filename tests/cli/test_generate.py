import spacy

from .conftest import run


def test_a_language_model_generates(language_model):
    model = language_model / "output" / "model-best"
    options = ["--prompt", "The old", "--max-words", "5", "--seed", "3"]
    first, second = run("generate", model, *options), run("generate", model, *options)
    assert first.exit_code == 0, first.output
    assert first.output == second.output
    assert first.output.startswith("The old")
    assert run("generate", model, "--temperature", "-1").exit_code == 1


def test_other_pipelines_have_no_language_model(tmp_path):
    spacy.blank("en").to_disk(tmp_path)
    result = run("generate", tmp_path)
    assert result.exit_code == 1
    assert "spacy-rnn.BiLM.v1" in result.output
