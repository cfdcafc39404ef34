import spacy

from ..pipeline.test_rnn_lemmatizer import make_nlp
from .conftest import run


def test_attention_is_shown_in_the_terminal_or_saved(tmp_path):
    make_nlp(steps=1).to_disk(tmp_path / "model")
    result = run("attention", tmp_path / "model", "cats the cats", "-c", "rnn_lemmatizer")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    titles = [line for line in lines if "→" in line]
    assert [title.split(" → ")[0] for title in titles] == ["cats", "the"]
    assert lines[1].split() == [*"cats", "∎"]
    # A row for each character that is written, and for the end.
    assert lines.index("") == 2 + len(titles[0].split(" → ")[1]) + 1
    for name in ("map.html", "map.png"):
        result = run("attention", tmp_path / "model", "cats", "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
        assert (tmp_path / name).stat().st_size > 500


def test_errors_say_what_is_wrong(tmp_path):
    make_nlp().to_disk(tmp_path / "model")
    spacy.blank("xx").to_disk(tmp_path / "blank")
    for arguments, message in [
        ((tmp_path / "blank", "cats"), "has none"),
        ((tmp_path / "model", "cats", "-c", "tagger"), "has rnn_lemmatizer"),
        ((tmp_path / "model", "cats", "-o", "map.svg"), "must end in .html or .png"),
        ((tmp_path / "model", "  "), "no word in"),
    ]:
        result = run("attention", *arguments)
        assert result.exit_code == 1
        assert message in " ".join(result.output.split())
