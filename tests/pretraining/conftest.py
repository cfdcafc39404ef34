"""A small language model, texts to pretrain it on, and runs."""

from pathlib import Path

import pytest
import spacy
import torch
from thinc.api import Config

from spacy_rnn.pretraining.find_model import load_pipeline
from spacy_rnn.pretraining.loop import Pretraining
from spacy_rnn.pretraining.processes import Processes
from spacy_rnn.pretraining.progress import Progress
from spacy_rnn.pretraining.settings import LMSettings

from ..conftest import SMALL_BILM

CONFIG = """
[nlp]
lang = "en"
pipeline = ["bilm"]

[components]

SMALL_BILM

[lm_pretraining]
train = "TRAIN"
dev = "DEV"
vocabulary_size = 60
n_rows = 4
n_steps = 5
max_epochs = 2
learn_rate = 0.01
warmup_steps = 3
dropout = 0.2
embed_dropout = 0.1
weight_drop = 0.1
word_dropout = 0.1
eval_frequency = 20
checkpoint_frequency = 7
n_process = 0
""".replace("SMALL_BILM", SMALL_BILM)
SENTENCES = [
    "The old dog sleeps in the garden .",
    "A young cat watches the old dog .",
    "The birds sing in the morning , and the cat listens .",
    "In the evening the garden is quiet .",
]


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(SENTENCES * 12))
    return path


def make_config(texts, **settings):
    text = CONFIG.replace("TRAIN", str(texts)).replace("DEV", str(texts))
    overrides = {f"lm_pretraining.{name}": value for name, value in settings.items()}
    return Config().from_str(text, overrides=overrides)


def make_run(config, output, *, resume=False):
    """A run without terminal output."""
    settings = LMSettings.from_config(dict(config["lm_pretraining"]))
    nlp = load_pipeline(config)
    model = nlp.get_pipe(nlp.pipe_names[0]).model
    progress, processes = Progress(silent=True), Processes(torch.device("cpu"))
    return Pretraining(nlp, model, settings, Path(output), progress, processes, resume=resume)


def stop_at(monkeypatch, step):
    """Interrupt each run before an update."""
    update = Pretraining.update

    def stop(self, batch):
        if self.state.position.step == step:
            raise KeyboardInterrupt
        return update(self, batch)

    monkeypatch.setattr(Pretraining, "update", stop)


def load_model(pipeline):
    nlp = spacy.load(pipeline)
    return nlp.get_pipe(nlp.pipe_names[0]).model


def get_weights(pipeline):
    return {
        f"{node.name}.{name}": value.clone()
        for node in load_model(pipeline).walk()
        for shim in node.shims
        for name, value in shim.module.state_dict().items()
    }


def assert_same(ours, theirs, tolerance=0.0):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        difference = (value.float() - theirs[name].float()).abs().max()
        assert difference <= tolerance, name
