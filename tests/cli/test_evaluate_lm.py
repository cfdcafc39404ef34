import srsly

from .conftest import TEXTS, run


def test_a_language_model_is_evaluated(language_model, tmp_path):
    model, output = language_model / "output" / "model-best", tmp_path / "figures.json"
    result = run("evaluate-lm", model, language_model / "texts.txt", "--output", output)
    assert result.exit_code == 0, result.output
    figures = srsly.read_json(output)
    assert set(figures) == {"forward", "backward"}
    n_words = sum(len(text.split()) for text in TEXTS)
    for values in figures.values():
        assert 1 < values["perplexity"] < 1000
        assert (values["words"], values["texts"]) == (n_words, len(TEXTS))
        assert values["unknown_words"] == 0
    assert "Unknown words" in result.output
    missing = run("evaluate-lm", model, tmp_path / "nowhere")
    assert missing.exit_code == 1
    assert "nowhere" in missing.output.replace("\n", "")
