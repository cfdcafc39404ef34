import math
import shutil
import tarfile

import pytest
import spacy
import srsly
import torch

from spacy_rnn.layers.bilm import get_embed
from spacy_rnn.layers.lm import get_vocabulary
from spacy_rnn.layers.torch_shim import get_shim
from spacy_rnn.pretraining.checkpoints import find_checkpoints
from spacy_rnn.pretraining.evaluation import compute_mean_losses
from spacy_rnn.pretraining.loop import Pretraining
from spacy_rnn.pretraining.pretrain import pretrain
from spacy_rnn.pretraining.text_files import read_texts
from spacy_rnn.pretraining.tokenize import tokenize

from ..conftest import ROOT
from .conftest import (
    SENTENCES,
    assert_same,
    get_weights,
    load_model,
    make_config,
    make_run,
    stop_at,
)

# Updates of a short run.
SHORT = {
    "max_epochs": 0,
    "max_steps": 4,
    "eval_frequency": 2,
    "checkpoint_frequency": 2,
    "dev_words": 40,
}


def read_log(output):
    records = list(srsly.read_jsonl(output / "log.jsonl"))
    for record in records:
        assert record.pop("words_per_second") >= 0
    return records


def test_perplexity_falls_and_everything_is_saved(texts, tmp_path):
    output = tmp_path / "output"
    config = make_config(texts, dropout=0.0, learn_rate=0.03, eval_frequency=10)
    pretrain(config, output)
    log = read_log(output)
    assert [record["step"] for record in log] == [10, 20, 30, 40, 47]
    assert all(len(record["dev_perplexity"]) == 2 for record in log)
    for first, last in zip(log[0]["dev_perplexity"], log[-1]["dev_perplexity"], strict=True):
        assert last < 0.6 * first
    for name in ("model-best", "model-last"):
        nlp = spacy.load(output / name)
        assert nlp("The old dog")._.bilm.shape == (3, 3, 32)
    assert len(find_checkpoints(output / "checkpoints")) == 2
    assert not list(output.rglob(".*"))


def test_a_run_is_whole_after_its_constructor(texts, tmp_path):
    run = make_run(make_config(texts, **SHORT), tmp_path / "output")
    names = set(vars(run))
    run.run()
    assert set(vars(run)) == names


@pytest.mark.parametrize(
    "optimizer, carry_state",
    [("adam", True), ("sgd", True), ("rmsprop", True), ("adam", False)],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    texts, tmp_path, monkeypatch, optimizer, carry_state
):
    config = make_config(texts, optimizer=optimizer, carry_state=carry_state, **SHORT)
    assert_resumed(config, tmp_path, monkeypatch, stop=3, resume_from=2)


def test_a_run_resumes_in_its_second_epoch(texts, tmp_path, monkeypatch):
    texts.write_text("\n".join(SENTENCES * 2))
    config = make_config(texts, checkpoint_frequency=5, eval_frequency=5)
    state = assert_resumed(config, tmp_path, monkeypatch, stop=6, resume_from=5)
    assert state.position.epoch == 2


def test_settings_without_influence_may_change(texts, tmp_path, monkeypatch):
    config = make_config(texts, **SHORT)
    changes = {"max_checkpoints": 1, "checkpoint_frequency": 3}
    assert_resumed(config, tmp_path, monkeypatch, stop=3, resume_from=2, **changes)
    assert len(find_checkpoints(tmp_path / "stopped" / "checkpoints")) == 1


def assert_resumed(config, path, monkeypatch, *, stop, resume_from, **changes):
    """Hold a run that was interrupted against one that was not. RETURNS its state."""
    whole = make_run(config, path / "whole")
    whole.run()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, stop)
        make_run(config, path / "stopped").run()
    torch.randn(3)
    config["lm_pretraining"].update(changes)
    resumed = make_run(config, path / "stopped", resume=True)
    assert resumed.state.position.step == resume_from
    resumed.run()
    assert_same(resumed.state.lm.state_dict(), whole.state.lm.state_dict())
    assert resumed.state.position == whole.state.position
    assert read_log(path / "stopped") == read_log(path / "whole")
    return resumed.state


def test_a_run_of_the_first_release_resumes(texts, tmp_path):
    """The checkpoint was saved by commit 768f6e3 after two of four updates."""
    with tarfile.open(ROOT / "tests" / "data" / "pretraining_768f6e3.tar.xz") as tar:
        tar.extractall(tmp_path / "output", filter="data")
    config = make_config(texts, n_rows=2, **{**SHORT, "dev_words": 200_000})
    model = config["components"]["bilm"]["model"]
    model.update(width=4, depth=1, cutoffs=[5])
    model["embed"].update(width=4, rows=[8, 8], attr_widths=[4, 2])
    model["embed"].update(affix_rows=8, affix_width=2, ngram_rows=8, ngram_width=2)
    run = make_run(config, tmp_path / "output", resume=True)
    assert run.state.position.step == 2
    texts = tokenize(read_texts(run.dev_files), run.nlp.tokenizer, 0)
    batches = run.state.batcher.copy_empty().get_batches(texts, to_end=True)
    losses = compute_mean_losses(run.state.lm, run.nlp, run.model, batches, 200_000)
    before = read_log(tmp_path / "output")[0]
    assert before["step"] == 2
    assert losses.exp().tolist() == pytest.approx(before["dev_perplexity"], rel=1e-4)
    run.run()
    assert [record["step"] for record in read_log(tmp_path / "output")] == [2, 4]


def test_a_finished_run_does_not_change(texts, tmp_path):
    output, config = tmp_path / "output", make_config(texts, **SHORT)
    finished = make_run(config, output)
    finished.run()
    log = (output / "log.jsonl").read_text()
    with pytest.raises(ValueError, match="--resume"):
        make_run(config, output)
    resumed = make_run(config, output, resume=True)
    resumed.run()
    assert_same(resumed.state.lm.state_dict(), finished.state.lm.state_dict())
    assert (output / "log.jsonl").read_text() == log


def test_early_stopping(texts, tmp_path):
    settings = {"learn_rate": 0.0, "patience": 2, "eval_frequency": 1}
    make_run(make_config(texts, max_epochs=50, **settings), tmp_path).run()
    assert [record["step"] for record in read_log(tmp_path)] == [1, 2, 3]


def test_too_short_texts_are_refused(texts, tmp_path):
    with pytest.raises(ValueError, match="Lower n_rows"):
        make_run(make_config(texts, n_rows=500), tmp_path / "output").run()


def test_rows_must_be_divisible_among_processes(texts, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "spacy_rnn.pretraining.processes.dist.init_process_group", lambda *_, **__: 0
    )
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="n_rows = 4 can't be divided among 3 processes"):
        make_run(make_config(texts), tmp_path / "output")


def test_a_loss_that_is_not_finite_stops_training(texts, tmp_path, monkeypatch):
    run = make_run(make_config(texts, **SHORT), tmp_path)
    update = Pretraining.update

    def break_later(self, batch):
        if self.state.position.step == 3:
            next(self.state.lm.parameters()).data.fill_(math.nan)
        return update(self, batch)

    monkeypatch.setattr(Pretraining, "update", break_later)
    with pytest.raises(ValueError, match="step 3"):
        run.run()
    assert [path.name for path in find_checkpoints(tmp_path / "checkpoints")] == ["step-000000002"]


def test_pretrained_weights_stay_the_best_unless_training_improves_them(texts, tmp_path):
    first, output = tmp_path / "first", tmp_path / "adapted"
    make_run(make_config(texts, **SHORT), first).run()
    config = make_config(texts, weights=str(first / "model-best"), **SHORT)
    config["lm_pretraining"].update(learn_rate=5.0, warmup_steps=0, grad_clip_norm=0.0)
    make_run(config, output).run()
    assert_same(get_weights(output / "model-best"), get_weights(first / "model-best"))
    record = read_log(output)[0]
    assert (record["step"], record["train_perplexity"]) == (0, [])


@pytest.mark.slow
def test_pretrained_weights_are_adapted_to_other_texts(texts, tmp_path, monkeypatch):
    first = tmp_path / "first"
    pretrain(make_config(texts, max_epochs=4), first)
    tweets = tmp_path / "tweets.jsonl"
    words = ["omg", "the", "old", "cat", "lol"]
    srsly.write_jsonl(tweets, [{"tokens": words}] * 60)
    output = tmp_path / "adapted"
    config = make_config(tweets, weights=str(first / "model-best"), max_epochs=3, eval_frequency=10)
    pretrain(config, output)
    # The vocabulary stays, and so does the set of words with embeddings of their own.
    before, after = load_model(first / "model-best"), load_model(output / "model-last")
    assert get_vocabulary(before) == get_vocabulary(after)
    assert "lol" not in get_vocabulary(after)
    assert srsly.read_json(output / "vocabulary.json")["vocabulary"] == get_vocabulary(after)
    known = [get_shim(get_embed(model)).module.known_words for model in (before, after)]
    assert_same(known[0].state_dict(), known[1].state_dict())
    weights, log = get_weights(output / "model-last"), read_log(output)
    for before, after in zip(log[0]["dev_perplexity"], log[-1]["dev_perplexity"], strict=True):
        assert after < 0.5 * before
    shutil.rmtree(find_checkpoints(output / "checkpoints")[-1])
    pretrain(config, output, resume=True)
    assert_same(get_weights(output / "model-last"), weights)
    assert read_log(output)[0] == log[0]
    # The same weights may have another path, but the same path may not have other weights.
    monkeypatch.chdir(tmp_path)
    elsewhere = make_config(tweets, weights="first/model-best", max_epochs=3, eval_frequency=10)
    pretrain(elsewhere, output, resume=True)
    shutil.rmtree(first)
    pretrain(make_config(texts, max_epochs=1), first)
    with pytest.raises(ValueError, match="other texts or weights"):
        pretrain(config, output, resume=True)


@pytest.mark.slow
def test_a_tied_softmax_and_a_character_cnn_learn(texts, tmp_path):
    config = make_config(texts, max_epochs=4, dropout=0.0)
    model = config["components"]["bilm"]["model"]
    model["softmax"] = "tied"
    model["embed"] = {"@architectures": "spacy-rnn.CharCNNEmbed.v1", "width": 16}
    pretrain(config, tmp_path / "output")
    log = read_log(tmp_path / "output")
    assert log[-1]["dev_perplexity"][0] < 0.8 * log[0]["dev_perplexity"][0]
    assert spacy.load(tmp_path / "output/model-last")("The dog")._.bilm.shape == (3, 2, 32)


def test_processors_without_bfloat16_compute_in_float32(texts, tmp_path, monkeypatch):
    config = make_config(texts, mixed_precision=True)
    for has_instructions in (True, False):
        monkeypatch.setattr(
            "spacy_rnn.pretraining.loop.has_bfloat16", lambda has=has_instructions: has
        )
        assert make_run(config, tmp_path).bf16 == has_instructions
