import spacy

from ..conftest import ROOT
from .conftest import run


def test_a_run_is_logged_and_resumed(language_model):
    log = language_model / "output" / "log.jsonl"
    before = log.read_text()
    assert len(before.splitlines()) == 2
    command = ["pretrain", language_model / "config.cfg", language_model / "output"]
    command += ["--components.bilm.model.cutoffs", "[5]"]
    again = run(*command)
    assert again.exit_code == 1
    assert "--resume" in again.output
    resumed = run(*command, "--resume")
    assert resumed.exit_code == 0 and "Resuming after step 4" in resumed.output
    assert log.read_text() == before
    doc = spacy.load(language_model / "output" / "model-last")("The old dog")
    assert doc._.bilm.shape == (3, 3, 32)


def test_texts_are_needed(tmp_path):
    result = run("pretrain", ROOT / "configs" / "bilm.cfg", tmp_path / "output")
    assert result.exit_code == 1
    assert "train is missing" in result.output
