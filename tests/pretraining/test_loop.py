import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
import spacy
import srsly
import torch
from thinc.api import Config

from spacy_rnn.cli.pretrain import pretrain
from spacy_rnn.layers.bilm import get_embed
from spacy_rnn.layers.lm import get_vocabulary
from spacy_rnn.layers.torch_shim import get_shim
from spacy_rnn.pretraining.atomic import replace_path
from spacy_rnn.pretraining.checkpoints import find_checkpoints
from spacy_rnn.pretraining.loop import Pretraining
from spacy_rnn.pretraining.optimizer import get_rate
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


def load_model(pipeline):
    nlp = spacy.load(pipeline)
    return nlp.get_pipe(nlp.pipe_names[0]).model


def get_weights(pipeline):
    model = load_model(pipeline)
    return {
        f"{node.name}.{name}": value.clone()
        for node in model.walk()
        for shim in node.shims
        for name, value in shim.module.state_dict().items()
    }


def assert_same(ours, theirs, tolerance=0.0):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        difference = (value.float() - theirs[name].float()).abs().max()
        assert difference <= tolerance, name


def test_perplexity_falls_and_everything_is_there(texts, tmp_path):
    output = tmp_path / "output"
    pretrain(make_config(texts, max_epochs=6, dropout=0.0), output)
    log = list(srsly.read_jsonl(output / "log.jsonl"))
    assert all(len(record["dev_perplexity"]) == 2 for record in log)
    for first, last in zip(log[0]["dev_perplexity"], log[-1]["dev_perplexity"], strict=True):
        assert last < 0.6 * first
        assert last < 15
    assert [record["step"] for record in log][:2] == [20, 40]
    for name in ("model-best", "model-last"):
        nlp = spacy.load(output / name)
        assert nlp("The old dog")._.bilm.shape == (3, 3, 32)
    assert len(find_checkpoints(output / "checkpoints")) == 2
    assert not list(output.rglob(".*"))


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("carry_state", [True, False])
def test_going_on_is_as_good_as_not_stopping(texts, tmp_path, optimizer, carry_state):
    config = make_config(texts, optimizer=optimizer, carry_state=carry_state)
    pretrain(config, tmp_path / "whole")
    stopped = tmp_path / "stopped"
    stopper = pytest.MonkeyPatch()
    n_updates = 0
    update = Pretraining.update

    def stop_later(self, batch):
        nonlocal n_updates
        n_updates += 1
        if n_updates == 18:
            raise KeyboardInterrupt
        return update(self, batch)

    with stopper.context() as patch:
        patch.setattr(Pretraining, "update", stop_later)
        with pytest.raises(KeyboardInterrupt):
            pretrain(config, stopped)
    assert [path.name for path in find_checkpoints(stopped / "checkpoints")] == [
        "step-000000007",
        "step-000000014",
    ]
    torch.randn(3)
    pretrain(config, stopped, resume=True)
    assert_same(get_weights(tmp_path / "whole/model-last"), get_weights(stopped / "model-last"))


def test_other_settings_are_refused(texts, tmp_path):
    output = tmp_path / "output"
    pretrain(make_config(texts, max_steps=8), output)
    with pytest.raises(ValueError, match="--resume"):
        pretrain(make_config(texts, max_steps=8), output)
    with pytest.raises(ValueError, match=r"learn_rate = 0.01.*0.5"):
        pretrain(make_config(texts, max_steps=8, learn_rate=0.5), output, resume=True)
    other = make_config(texts, max_steps=8)
    other["components"]["bilm"]["model"]["residual"] = False
    with pytest.raises(ValueError, match=r"model.residual = True.*False"):
        pretrain(other, output, resume=True)
    texts.write_text("Other texts are here now .")
    with pytest.raises(ValueError, match="other texts"):
        pretrain(make_config(texts, max_steps=8), output, resume=True)


def test_what_has_no_influence_may_change(texts, tmp_path):
    pretrain(make_config(texts), tmp_path / "whole")
    output = tmp_path / "output"
    pretrain(make_config(texts), output)
    shutil.rmtree(find_checkpoints(output / "checkpoints")[-1])
    pretrain(make_config(texts, max_checkpoints=1, checkpoint_frequency=2), output, resume=True)
    assert len(find_checkpoints(output / "checkpoints")) == 1
    assert_same(get_weights(output / "model-last"), get_weights(tmp_path / "whole/model-last"))


def test_a_finished_run_stays_as_it_is(texts, tmp_path):
    output, config = tmp_path / "output", make_config(texts)
    pretrain(config, output)
    weights, log = get_weights(output / "model-last"), (output / "log.jsonl").read_text()
    pretrain(config, output, resume=True)
    assert_same(get_weights(output / "model-last"), weights)
    assert (output / "log.jsonl").read_text() == log


def test_words_are_counted_anew_for_other_texts(texts, tmp_path, monkeypatch):
    output = tmp_path / "output"
    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "_train", stop)
        with pytest.raises(KeyboardInterrupt):
            pretrain(make_config(texts), output)
    texts.write_text("Some other words altogether , once more , that nobody has read .\n" * 50)
    pretrain(make_config(texts, vocabulary_size=12, max_steps=2), output)
    vocabulary = srsly.read_json(output / "vocabulary.json")["vocabulary"]
    assert "altogether" in vocabulary
    assert "dog" not in vocabulary


def stop(*args):
    raise KeyboardInterrupt


def test_texts_for_less_than_an_update_are_refused(texts, tmp_path):
    with pytest.raises(ValueError, match="n_rows"):
        pretrain(make_config(texts, n_rows=500), tmp_path / "output")


def test_a_loss_that_is_no_number_stops_training(texts, tmp_path, monkeypatch):
    output, update = tmp_path / "output", Pretraining.update

    def break_later(self, batch):
        if self.position.step == 9:
            next(self.lm.parameters()).data.fill_(math.nan)
        return update(self, batch)

    monkeypatch.setattr(Pretraining, "update", break_later)
    with pytest.raises(ValueError, match="step 9"):
        pretrain(make_config(texts), output)
    assert [path.name for path in find_checkpoints(output / "checkpoints")] == ["step-000000007"]


def test_a_tied_softmax_and_a_character_cnn_are_trained(texts, tmp_path):
    config = make_config(texts, max_epochs=4, dropout=0.0)
    model = config["components"]["bilm"]["model"]
    model["softmax"] = "tied"
    model["embed"] = {"@architectures": "spacy-rnn.CharCNNEmbed.v1", "width": 16}
    pretrain(config, tmp_path / "output")
    log = list(srsly.read_jsonl(tmp_path / "output/log.jsonl"))
    assert log[-1]["dev_perplexity"][0] < 0.8 * log[0]["dev_perplexity"][0]
    assert spacy.load(tmp_path / "output/model-last")("The dog")._.bilm.shape == (3, 2, 32)


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_log_of_a_stopped_run_is_that_of_a_whole_one(texts, tmp_path, processes):
    config = tmp_path / "config.cfg"
    make_config(texts, eval_frequency=5).to_disk(config)
    outputs = [tmp_path / "whole", tmp_path / "stopped"]
    for output in outputs:
        run = run_command(config, output, processes=processes)
        text, _ = run.communicate(timeout=300)
        assert run.returncode == 0, text
    # As if it had been killed after the second evaluation.
    for path in find_checkpoints(outputs[1] / "checkpoints")[1:]:
        shutil.rmtree(path)
    run = run_command(config, outputs[1], "--resume", processes=processes)
    text, _ = run.communicate(timeout=300)
    assert run.returncode == 0, text
    logs = [list(srsly.read_jsonl(output / "log.jsonl")) for output in outputs]
    for record in [*logs[0], *logs[1]]:
        del record["words_per_second"]
    assert logs[0] == logs[1]
    whole, stopped = (get_weights(output / "model-last") for output in outputs)
    assert_same(whole, stopped)
    run = run_command(config, outputs[1], "--resume", processes=3 - processes)
    text, _ = run.communicate(timeout=300)
    assert run.returncode != 0
    assert "processes" in text


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_there(texts, tmp_path):
    output = tmp_path / "output"
    config = make_config(texts, max_steps=16)
    pretrain(config, output)
    whole = get_weights(output / "model-last")
    before, last = find_checkpoints(output / "checkpoints")
    tensors = last / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:1000])
    with pytest.raises(ValueError, match=last.name):
        pretrain(config, output, resume=True)
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    pretrain(config, output, resume=True)
    assert_same(get_weights(output / "model-last"), whole)
    assert before.exists()


def test_a_full_disk_leaves_earlier_checkpoints(texts, tmp_path, monkeypatch):
    output, save = tmp_path / "output", safetensors.torch.save_file
    n_saved = 0

    def fill(tensors, path):
        nonlocal n_saved
        n_saved += 1
        if n_saved == 2:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(tensors, path)

    monkeypatch.setattr(safetensors.torch, "save_file", fill)
    with pytest.raises(OSError, match="No space"):
        pretrain(make_config(texts), output)
    assert [path.name for path in (output / "checkpoints").iterdir()] == ["step-000000007"]



def test_going_on_with_weights_on_other_texts(texts, tmp_path, monkeypatch):
    first = tmp_path / "first"
    pretrain(make_config(texts, max_epochs=4), first)
    tweets = tmp_path / "tweets.jsonl"
    words = ["omg", "the", "old", "cat", "lol"]
    srsly.write_jsonl(tweets, [{"tokens": words}] * 60)
    output = tmp_path / "adapted"
    config = make_config(tweets, weights=str(first / "model-best"), max_epochs=3, eval_frequency=10)
    pretrain(config, output)
    # What is known stays known: the vocabulary, and which words have embeddings of their own.
    before, after = load_model(first / "model-best"), load_model(output / "model-last")
    assert get_vocabulary(before) == get_vocabulary(after)
    assert "lol" not in get_vocabulary(after)
    assert srsly.read_json(output / "vocabulary.json")["vocabulary"] == get_vocabulary(after)
    known = [get_shim(get_embed(model)).module.known_words for model in (before, after)]
    assert_same(known[0].state_dict(), known[1].state_dict())
    weights = get_weights(output / "model-last")
    log = list(srsly.read_jsonl(output / "log.jsonl"))
    assert (log[0]["step"], log[0]["train_perplexity"]) == (0, [])
    for before, after in zip(log[0]["dev_perplexity"], log[-1]["dev_perplexity"], strict=True):
        assert after < 0.5 * before
    # It goes on as a run does that began with random weights.
    shutil.rmtree(find_checkpoints(output / "checkpoints")[-1])
    pretrain(config, output, resume=True)
    assert_same(get_weights(output / "model-last"), weights)
    assert next(iter(srsly.read_jsonl(output / "log.jsonl"))) == log[0]
    monkeypatch.chdir(tmp_path)
    elsewhere = make_config(tweets, weights="first/model-best", max_epochs=3, eval_frequency=10)
    pretrain(elsewhere, output, resume=True)
    shutil.rmtree(first)
    pretrain(make_config(texts, max_epochs=1), first)
    with pytest.raises(ValueError, match="other texts or weights"):
        pretrain(config, output, resume=True)


def test_weights_that_teach_nothing_new_stay_the_best(texts, tmp_path):
    first, output = tmp_path / "first", tmp_path / "adapted"
    pretrain(make_config(texts, max_epochs=4), first)
    config = make_config(texts, weights=str(first / "model-best"), max_steps=5)
    config["lm_pretraining"].update(learn_rate=5.0, warmup_steps=0, grad_clip_norm=0.0)
    pretrain(config, output)
    assert_same(get_weights(output / "model-best"), get_weights(first / "model-best"))


def test_weights_that_do_not_fit_are_refused(texts, tmp_path):
    first = tmp_path / "first"
    pretrain(make_config(texts, max_steps=2), first)
    weights = str(first / "model-last")
    nlp = spacy.blank("en")
    nlp.add_pipe("bilm", config={"model": make_config(texts)["components"]["bilm"]["model"]})
    nlp.initialize(lambda: [])
    nlp.to_disk(tmp_path / "random")
    with pytest.raises(ValueError, match="vocabulary was left out"):
        pretrain(make_config(texts, weights=str(tmp_path / "random")), tmp_path / "output")
    with pytest.raises(ValueError, match="nowhere"):
        pretrain(make_config(texts, weights=str(tmp_path / "nowhere")), tmp_path / "output")
    with pytest.raises(ValueError, match="n_rows"):
        pretrain(make_config(texts, weights=weights, n_rows=500), tmp_path / "output")
    assert not list((tmp_path / "output").glob("model-*"))


def test_bad_texts_and_settings_are_explained(texts, tmp_path):
    output = tmp_path / "output"
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    for changes, wanted in [
        ({"train": str(empty)}, "it has none"),
        ({"train": str(tmp_path / "nowhere")}, "nowhere"),
        ({"n_rows": 0}, "n_rows"),
        ({"optimizer": "adamax"}, "adamax"),
        ({"dropout": 1.5}, "dropout"),
        ({"max_epochs": 0}, "max_steps"),
        ({"train": ""}, "empty"),
        ({"colour": "red"}, "colour is unknown"),
        ({"vocabulary_size": 8}, "cutoffs"),
        ({"component": "tagger"}, "tagger"),
    ]:
        with pytest.raises(ValueError, match=wanted):
            pretrain(make_config(texts, **changes), output / wanted)
    no_section = make_config(texts)
    del no_section["lm_pretraining"]
    with pytest.raises(ValueError, match="no section"):
        pretrain(no_section, output)


def test_rates_rise_and_fall():
    settings = LMSettings("a", "b", learn_rate=1.0, warmup_steps=10, decay="linear")
    assert get_rate(settings, 0, 110) == 0.1
    assert get_rate(settings, 9, 110) == get_rate(settings, 10, 110) == 1.0
    assert math.isclose(get_rate(settings, 60, 110), 0.5)
    assert get_rate(settings, 110, 110) == get_rate(settings, 200, 110) == 0.0
    cosine = LMSettings("a", "b", learn_rate=1.0, warmup_steps=10)
    assert math.isclose(get_rate(cosine, 60, 110), 0.5)
    constant = LMSettings("a", "b", learn_rate=1.0, warmup_steps=0, decay="none")
    assert {get_rate(constant, step, None) for step in (0, 99)} == {1.0}


def test_early_stop(texts, tmp_path):
    config = make_config(texts, max_epochs=50, learn_rate=0.0, patience=2, eval_frequency=5)
    pretrain(config, tmp_path / "output")
    log = list(srsly.read_jsonl(tmp_path / "output/log.jsonl"))
    assert [record["step"] for record in log] == [5, 10, 15]


def test_what_failed_is_not_there(tmp_path):
    path = tmp_path / "directory"
    for content in ("old", "new"):
        with replace_path(path) as temporary:
            temporary.mkdir()
            (temporary / "file").write_text(content)
    with pytest.raises(RuntimeError), replace_path(path) as temporary:
        temporary.mkdir()
        (temporary / "file").write_text("half")
        raise RuntimeError
    assert (path / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def run_command(config, output, *options, processes=1):
    python = [sys.executable]
    if processes > 1:
        # Standalone: on a port that is free.
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*python, "-m", "spacy", "rnn", "pretrain", str(config), str(output), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_killed_run_goes_on(texts, tmp_path):
    config, output = tmp_path / "config.cfg", tmp_path / "killed"
    make_config(texts, max_epochs=20, checkpoint_frequency=3).to_disk(config)
    run = run_command(config, output)
    while run.poll() is None and len(find_checkpoints(output / "checkpoints")) < 2:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert run.returncode == -signal.SIGKILL
    torch.set_num_threads(1)
    pretrain(Config().from_disk(config), output, resume=True)
    pretrain(Config().from_disk(config), tmp_path / "whole")
    assert_same(get_weights(output / "model-last"), get_weights(tmp_path / "whole/model-last"))


def test_two_processes_are_as_good_as_one(texts, tmp_path):
    quiet = {"dropout": 0.0, "embed_dropout": 0.0, "weight_drop": 0.0, "word_dropout": 0.0}
    config = tmp_path / "config.cfg"
    make_config(texts, **quiet, max_steps=12, optimizer="sgd", learn_rate=0.5).to_disk(config)
    for processes in (1, 2):
        run = run_command(config, tmp_path / str(processes), processes=processes)
        output, _ = run.communicate(timeout=300)
        assert run.returncode == 0, output
    one, two = (get_weights(tmp_path / f"{n}/model-last") for n in (1, 2))
    assert_same(one, two, tolerance=1e-5)
    logs = [list(srsly.read_jsonl(tmp_path / f"{n}/log.jsonl"))[-1] for n in (1, 2)]
    for ours, theirs in zip(*(log["train_perplexity"] for log in logs), strict=True):
        assert math.isclose(ours, theirs, rel_tol=1e-4)
