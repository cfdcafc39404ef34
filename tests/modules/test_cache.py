"""The staleness rule of what is cached from weights."""

import copy
import gc
import pickle
import threading
import weakref

import numpy
import pytest
import torch
from thinc.api import SGD, Adam, Model
from torch import nn

from spacy_rnn.layers.torch_shim import TorchShim
from spacy_rnn.modules.cache import _caches, cached, mark_changed
from spacy_rnn.modules.networks import Network


class LinearNetwork(Network):
    def get_module_class(self):
        return nn.Linear


def add_in_place(layer):
    with torch.no_grad():
        layer.shims[0].module.weight += 1


def write_and_mark(layer):
    layer.shims[0].module.weight.data[:] += 1
    mark_changed([layer.shims[0].module.weight])


def replace_memory(layer):
    weight = layer.shims[0].module.weight
    weight.data = weight.data + 1


def finish_update(make_optimizer):
    def step(layer):
        layer.shims[0].module.weight.grad = torch.ones(2, 2)
        layer.shims[0].finish_update(make_optimizer())

    return step


@pytest.fixture
def layer():
    shim = TorchShim(
        "linear", LinearNetwork("linear"), {"in_features": 2, "out_features": 2, "bias": False}
    )
    shim.initialize()
    return Model("linear", lambda model, X, is_train: (X, lambda dY: dY), shims=[shim])


def get_sum(layer):
    module = layer.shims[0].module
    return cached(module, "sum", module.parameters(), lambda: float(module.weight.detach().sum()))


def compute_sum(layer):
    return float(layer.shims[0].module.weight.detach().sum())


@pytest.mark.parametrize(
    "change",
    [
        add_in_place,
        write_and_mark,
        replace_memory,
        finish_update(lambda: Adam(0.1)),
        finish_update(lambda: SGD(0.1)),
    ],
    ids=["in place", "mark_changed", "new memory", "Adam", "SGD"],
)
def test_a_value_is_computed_again_after_a_change(layer, change):
    before = get_sum(layer)
    assert get_sum(layer) == before
    change(layer)
    assert get_sum(layer) == compute_sum(layer) != before


def test_a_value_is_computed_again_inside_and_after_use_params(layer):
    before, key = get_sum(layer), (layer.shims[0].id, "torch.weight")
    with layer.use_params({key: numpy.full((2, 2), 5, dtype="f")}):
        assert get_sum(layer) == 20
    assert get_sum(layer) == before


def test_a_bare_write_is_only_noticed_when_it_is_marked(layer):
    before = get_sum(layer)
    layer.shims[0].module.weight.data[:] += 1
    assert get_sum(layer) == before != compute_sum(layer)
    mark_changed(layer.shims[0].module.parameters())
    assert get_sum(layer) == compute_sum(layer)


def test_keys_of_one_owner_are_independent(layer):
    module = layer.shims[0].module
    assert cached(module, "a", [], lambda: 1) == 1
    assert cached(module, "b", [], lambda: 2) == 2
    assert cached(module, "a", [], lambda: 3) == 1


def test_values_go_with_their_owner():
    class Value:
        pass

    owner, value = nn.Linear(1, 1), Value()
    seen = weakref.ref(value)
    cached(owner, "value", owner.parameters(), lambda value=value: value)
    del value
    gc.collect()
    assert seen() is not None
    del owner
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_do_not_carry_values(clone):
    owner = nn.Linear(1, 1)
    # Could be neither copied nor pickled.
    cached(owner, "lock", owner.parameters(), threading.Lock)
    twin = clone(owner)
    assert owner in _caches and twin not in _caches


def test_threads_get_values_of_the_current_weights(layer):
    wrong = []

    def work():
        for _ in range(200):
            if get_sum(layer) != compute_sum(layer):
                wrong.append(True)

    for _ in range(5):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        add_in_place(layer)
    assert not wrong
