import pytest
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_rnn.cli  # noqa: F401  (spaCy loads it through its entry point)

from ..pretraining.conftest import make_config

TEXTS = ["The old dog sleeps in the garden .", "Two cats see the dog and run ."] * 30


def run(*arguments):
    return CliRunner().invoke(app, ["rnn", *map(str, arguments)])


@pytest.fixture(scope="session")
def language_model(tmp_path_factory):
    """A directory with texts, a config and a pretrained language model in `output`."""
    path = tmp_path_factory.mktemp("lm")
    (path / "texts.txt").write_text("\n".join(TEXTS))
    settings = {"max_epochs": 0, "max_steps": 4, "eval_frequency": 2}
    make_config(path / "texts.txt", **settings).to_disk(path / "config.cfg")
    options = ["--components.bilm.model.cutoffs", "[5]"]
    result = run("pretrain", path / "config.cfg", path / "output", *options)
    assert result.exit_code == 0, result.output
    return path
