import json
import sys

from spacy_rnn.pretraining.progress import Progress, draw_curves

RECORD = {
    "step": 5,
    "epoch": 0,
    "words": 100,
    "train_perplexity": [25.1, 24.0],
    "dev_perplexity": [20.0, 19.0],
    "words_per_second": 3236,
}
FIRST = {**RECORD, "step": 0, "words": 0, "train_perplexity": []}


def test_a_run_is_shown(tmp_path, capsys):
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in (FIRST, RECORD)))
    progress = Progress()
    assert list(progress.show_counting([["a", "b"], ["c"]])) == [["a", "b"], ["c"]]
    progress.start(0, None)
    progress.show(FIRST)
    progress.bar.update(100)
    progress.show(RECORD)
    progress.finish(tmp_path / "log.jsonl")
    shown = capsys.readouterr().out
    assert "25.1 / 24.0" in shown and "3236" in shown
    assert (tmp_path / "curves.png").exists() == ("Saved the learning curves" in shown)


def test_silence(tmp_path, capsys):
    (tmp_path / "log.jsonl").write_text(json.dumps(RECORD))
    progress = Progress(silent=True)
    progress.msg.warn("a warning")
    progress.start(0, 100)
    progress.show(RECORD)
    progress.finish(tmp_path / "log.jsonl")
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "curves.png").exists()


def test_curves_need_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not draw_curves([RECORD], tmp_path / "curves.png")
