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


def test_an_ngram_model_is_compared_on_the_same_words(language_model, tmp_path):
    model, texts = language_model / "output" / "model-best", language_model / "texts.txt"
    output = tmp_path / "figures.json"
    result = run("evaluate-lm", model, texts, "--ngram", 3, "--train", texts, "-o", output)
    assert result.exit_code == 0, result.output
    figures = srsly.read_json(output)
    for name in ("forward", "backward"):
        ours, theirs = figures[name], figures[f"{name}, 3-gram"]
        # It has seen these very texts.
        assert 1 < theirs["perplexity"] < ours["perplexity"]
        for count in ("words", "texts", "unknown_words", "vocabulary"):
            assert theirs[count] == ours[count]
    result = run("evaluate-lm", model, texts, "--ngram", 3)
    assert (result.exit_code, "--train" in result.output) == (1, True)
