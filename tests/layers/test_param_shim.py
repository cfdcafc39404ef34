import pickle

import numpy
import pytest
from thinc.api import Adam

from spacy_rnn.kernels import HAS_INT8, INSTRUCTIONS
from spacy_rnn.layers.biaffine import biaffine
from spacy_rnn.layers.param_shim import get_param_shim

X = numpy.random.RandomState(0).normal(size=(4, 7)).astype("float32")


def make_layer(int8=False):
    return biaffine(5, 3, 2, int8=int8).initialize(X=[X])


def predict(model):
    return model.predict([X]).states[0]


def check(model):
    """It predicts what its parameters say now."""
    Z = X @ model.get_param("W").T + model.get_param("b")
    expected = numpy.maximum(Z, 0.1 * Z)
    expected[:, -1] = Z[:, -1]
    numpy.testing.assert_allclose(predict(model), expected, rtol=1e-5, atol=1e-5)


def update(model, optimizer):
    states, backprop = model.begin_update([X])
    states.states = [numpy.ones_like(Y) for Y in states.states]
    backprop(states)
    model.finish_update(optimizer)


def replace(model):
    model.set_param("W", model.get_param("W") + 1)


def load(model):
    other = make_layer()
    replace(other)
    model.from_bytes(other.to_bytes())


@pytest.mark.parametrize("change", [lambda model: update(model, Adam(0.1)), replace, load])
def test_predictions_follow_the_parameters(change):
    model = make_layer()
    check(model)
    before = predict(model)
    change(model)
    check(model)
    assert not numpy.allclose(predict(model), before)


def test_predictions_follow_averages_and_return():
    model, optimizer = make_layer(), Adam(0.1, use_averages=True)
    for _ in range(3):
        update(model, optimizer)
        check(model)
        now = predict(model)
        with model.use_params(optimizer.averages):
            check(model)
            assert not numpy.array_equal(predict(model), now)
        numpy.testing.assert_array_equal(predict(model), now)


def test_copies_have_parameters_of_their_own():
    model = make_layer(int8=True)
    predict(model)
    twin = model.copy()
    replace(twin)
    assert not numpy.allclose(predict(twin), predict(model))
    for shim in (get_param_shim(twin), pickle.loads(pickle.dumps(get_param_shim(model)))):
        assert shim.int8


@pytest.mark.skipif(INSTRUCTIONS is None, reason="there are no kernels")
def test_what_is_computed_is_kept():
    model = make_layer()
    predict(model)
    weights = get_param_shim(model).get_weights(model)
    predict(model)
    assert get_param_shim(model).get_weights(model) is weights


@pytest.mark.skipif(not HAS_INT8, reason="no instructions for 8-bit integers")
def test_8_bit_integers_are_close_to_single_precision():
    single, int8 = make_layer(), make_layer(int8=True)
    int8.from_bytes(single.to_bytes())
    assert not numpy.array_equal(predict(single), predict(int8))
    numpy.testing.assert_allclose(predict(int8), predict(single), rtol=0.03, atol=0.03)
