"""Runs in processes of their own."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import srsly
import torch
from thinc.api import Config

from spacy_rnn.pretraining.checkpoints import find_checkpoints
from spacy_rnn.pretraining.pretrain import pretrain
from spacy_rnn.pretraining.processes import Processes

from .conftest import assert_same, get_weights, make_config


def run_command(config, output, *options, processes=1):
    python = [sys.executable]
    if processes > 1:
        # Standalone: on a free port.
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*python, "-m", "spacy", "rnn", "pretrain", str(config), str(output), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_one_process_needs_no_group():
    processes = Processes(torch.device("cpu"))
    module, X = torch.nn.Linear(1, 1), torch.ones(2)
    assert processes.is_first and processes.wrap(module) is module
    assert processes.add(X) is X and processes.gather(X) == [X]
    processes.wait()
    processes.close()


@pytest.mark.slow
def test_two_processes_learn_the_same_as_one(texts, tmp_path):
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


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(texts, tmp_path, processes):
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


@pytest.mark.slow
def test_a_killed_run_resumes(texts, tmp_path):
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
