"""On real data, where it is at hand: the figures that are cheap enough to check each time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

PROJECTS = ROOT / "projects"


def train_and_evaluate(config: Path, corpus: Path, steps: int) -> dict:
    """Run `spacy train` for some steps, and `spacy evaluate` on the test set."""
    command = [sys.executable, "-m", "spacy", "train", config, "--output", corpus]
    for part in ("train", "dev"):
        command += [f"--paths.{part}", corpus / f"{part}.spacy"]
    subprocess.run([*command, "--training.max_steps", str(steps)], check=True)
    command = [sys.executable, "-m", "spacy", "evaluate", corpus / "model-best"]
    command += [corpus / "test.spacy", "--output", corpus / "metrics.json"]
    subprocess.run(command, check=True)
    return json.loads((corpus / "metrics.json").read_text())


@pytest.mark.slow
def test_a_few_passes_over_ewt_beat_spacys_cnn(data_dir, tmp_path):
    """HashEmbedCNN has 93.1 on the test set after all of its training."""
    convert = PROJECTS / "ud_tagger" / "scripts" / "convert.py"
    for part in ("train", "dev", "test"):
        source = data_dir / "ud_en_ewt" / f"en_ewt-ud-{part}.conllu"
        target = tmp_path / f"{part}.spacy"
        subprocess.run([sys.executable, convert, source, target, "--lang", "en"], check=True)
    scores = train_and_evaluate(ROOT / "configs" / "tagger.cfg", tmp_path, 1600)
    assert scores["tag_acc"] > 0.94


@pytest.mark.slow
def test_a_few_passes_over_uner_beat_spacys_cnn(data_dir, tmp_path):
    """HashEmbedCNN has 64 on the test set after all of its training."""
    convert = PROJECTS / "ner" / "scripts" / "convert.py"
    for part in ("train", "dev", "test"):
        (source,) = (data_dir / "uner_en_ewt").glob(f"en_ewt-ud-{part}.*iob2")
        command = [sys.executable, convert, tmp_path / f"{part}.spacy", source]
        subprocess.run([*command, "--drop", "OTH", "--drop", "O"], check=True)
    scores = train_and_evaluate(ROOT / "configs" / "ner.cfg", tmp_path, 1000)
    assert scores["ents_f"] > 0.66


@pytest.mark.slow
def test_a_few_passes_over_banking77_beat_spacys_ensemble(data_dir, tmp_path):
    """TextCatEnsemble has 86.6 on the test set after all of its training."""
    convert = PROJECTS / "textcat" / "scripts" / "convert.py"
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "banking77").symlink_to(data_dir / "banking77")
    command = [sys.executable, convert, tmp_path / "assets", tmp_path]
    subprocess.run(command, check=True)
    scores = train_and_evaluate(ROOT / "configs" / "textcat.cfg", tmp_path / "banking77", 1200)
    assert scores["cats_micro_f"] > 0.885
