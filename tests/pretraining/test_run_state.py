import json

import numpy
import torch

from spacy_rnn.pretraining.processes import Processes

from .conftest import assert_same, make_config, make_run


class TwoProcesses(Processes):
    """The second of two processes."""

    def __init__(self):
        super().__init__(torch.device("cpu"))
        self.n_processes, self.rank = 2, 1

    def gather(self, X):
        return [X, X + 1 if X.is_floating_point() else X]


def make_state(texts, path, seed, **settings):
    """The state after an update."""
    run = make_run(make_config(texts, seed=seed, **settings), path)
    run.update(next(run.get_batches()))
    run.state.position.best = 1.25
    return run.state


def draw():
    return torch.rand(2).tolist(), numpy.random.random(2).tolist()


def test_what_is_packed_is_unpacked(texts, tmp_path):
    one = Processes(torch.device("cpu"))
    first = make_state(texts, tmp_path / "1", seed=1)
    json_part, tensors = first.pack(one)
    expected = draw()
    second = make_state(texts, tmp_path / "2", seed=2)
    second.unpack(json.loads(json.dumps(json_part)), tensors, one)
    assert draw() == expected
    assert second.position == first.position
    assert second.batcher.get_state() == first.batcher.get_state()
    assert_same(second.lm.state_dict(), first.lm.state_dict())
    assert second.pack(one)[1].keys() == tensors.keys()
    for name, value in second.pack(one)[1].items():
        # Drawing has moved the generators.
        assert name.startswith("random.") or torch.equal(value, tensors[name]), name


def test_each_process_gets_its_own_rows(texts, tmp_path):
    two = TwoProcesses()
    state = make_state(texts, tmp_path, seed=0)
    before = [[part.clone() for part in layer] for layer in state.states]
    json_part, tensors = state.pack(two)
    state.unpack(json_part, tensors, two)
    for old, new in zip(before, state.states, strict=True):
        for ours, theirs in zip(new, old, strict=True):
            assert torch.equal(ours, theirs + 1)


def test_an_optimizer_without_moments_is_packed(texts, tmp_path):
    one = Processes(torch.device("cpu"))
    state = make_state(texts, tmp_path, seed=0, optimizer="sgd")
    json_part, tensors = state.pack(one)
    assert not any(name.startswith("optimizer.") for name in tensors)
    state.unpack(json_part, tensors, one)
