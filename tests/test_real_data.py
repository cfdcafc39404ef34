"""On real data, where it is at hand: the figures that are cheap enough to check each time."""

import json
import subprocess
import sys

import pytest

from .conftest import ROOT

CONVERT = ROOT / "projects" / "ud_tagger" / "scripts" / "convert.py"


@pytest.mark.slow
def test_a_few_passes_over_ewt_beat_spacys_cnn(data_dir, tmp_path):
    """HashEmbedCNN has 93.1 on the test set after all of its training."""
    for name in ("train", "dev", "test"):
        source = data_dir / "ud_en_ewt" / f"en_ewt-ud-{name}.conllu"
        target = tmp_path / f"{name}.spacy"
        subprocess.run([sys.executable, CONVERT, source, target, "--lang", "en"], check=True)
    command = [sys.executable, "-m", "spacy", "train", ROOT / "configs" / "tagger.cfg"]
    command += ["--paths.train", tmp_path / "train.spacy", "--paths.dev", tmp_path / "dev.spacy"]
    command += ["--output", tmp_path, "--training.max_steps", "1600"]
    subprocess.run(command, check=True)
    command = [sys.executable, "-m", "spacy", "evaluate", tmp_path / "model-best"]
    command += [tmp_path / "test.spacy", "--output", tmp_path / "metrics.json"]
    subprocess.run(command, check=True)
    assert json.loads((tmp_path / "metrics.json").read_text())["tag_acc"] > 0.94
