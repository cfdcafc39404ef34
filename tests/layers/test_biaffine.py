"""The states of a biaffine parser."""

import numpy
import pytest
from thinc.api import NumpyOps

from spacy_rnn.kernels import INSTRUCTIONS
from spacy_rnn.layers.biaffine import PARAMS, BiaffineStates, biaffine, extend_labels, get_widths

LENGTHS = [3, 0, 5]


def make_layer(nO=4):
    layer = biaffine(5, 3, nO, 7)
    layer.initialize()
    rng = numpy.random.default_rng(0)
    for name in layer.param_names:
        layer.set_param(name, rng.normal(size=layer.get_param(name).shape).astype("f"))
    return layer


def make_inputs(seed=0):
    rng = numpy.random.default_rng(seed)
    return [rng.normal(size=(n, 7)).astype("f") for n in LENGTHS]


def make_gradient(layer, states):
    rng = numpy.random.default_rng(1)
    params = {name: rng.normal(size=layer.get_param(name).shape).astype("f") for name in PARAMS}
    return BiaffineStates([rng.normal(size=Y.shape).astype("f") for Y in states], params)


def test_gradients_are_those_of_differences():
    layer, Xs = make_layer(), make_inputs()
    output, backprop = layer(Xs, is_train=True)
    gradient = make_gradient(layer, output.states)
    dXs = backprop(gradient)

    def evaluate():
        states = layer(Xs, is_train=True)[0].states
        pairs = zip(states, gradient.states, strict=True)
        return sum((Y.astype("d") * dY).sum() for Y, dY in pairs)

    for array, found in [
        (layer.get_param("W"), layer.get_grad("W")),
        (layer.get_param("b"), layer.get_grad("b")),
        (Xs[0], dXs[0]),
        (Xs[2], dXs[2]),
    ]:
        for place in list(numpy.ndindex(array.shape))[::5]:
            value, values = array[place], []
            for step in (1e-3, -1e-3):
                array[place] = value + step
                values.append(evaluate())
            array[place] = value
            assert found[place] == pytest.approx((values[0] - values[1]) / 2e-3, abs=0.02)
    for name in PARAMS:
        assert numpy.array_equal(layer.get_grad(name), gradient.params[name])


@pytest.mark.skipif(INSTRUCTIONS is None, reason="there are no kernels")
def test_prediction_is_that_of_training_without_dropout_and_the_same_in_any_batch():
    layer, Xs = make_layer(), make_inputs()
    predicted, trained = layer.predict(Xs).states, layer(Xs, is_train=True)[0].states
    for X, Y, expected in zip(Xs, predicted, trained, strict=True):
        numpy.testing.assert_allclose(Y, expected, rtol=1e-5, atol=1e-5)
        assert numpy.array_equal(layer.predict([X]).states[0], Y)


def test_whole_features_of_a_sequence_are_dropped():
    layer, Xs = make_layer(), make_inputs()
    layer.attrs["dropout_rate"] = 0.5
    output, backprop = layer(Xs, is_train=True)
    plain = layer.predict(Xs).states
    for Y, full in zip(output.states, plain, strict=True):
        dropped = (Y == 0).all(axis=0) if len(Y) else numpy.zeros(17, dtype=bool)
        assert not dropped[-1]
        kept = Y[:, ~dropped][:, :-1]
        numpy.testing.assert_allclose(kept, 2 * full[:, ~dropped][:, :-1], rtol=1e-4, atol=1e-5)
    assert any((Y == 0).any() for Y in output.states)
    (dX, *_) = backprop(make_gradient(layer, output.states))
    assert dX.shape == Xs[0].shape


def test_labels_that_are_added_keep_the_others_scores():
    layer = make_layer()
    extended = extend_labels(layer, 6)
    for name in layer.param_names:
        old, new = layer.get_param(name), extended.get_param(name)
        assert numpy.array_equal(new[: len(old)], old)
    assert extended.get_param("label_W").shape == get_widths(layer).get_shapes(6)["label_W"]
    constants = extended.get_param("label_b").reshape(6, -1)[:, -1]
    assert constants[4] == constants[5] == constants[:4].min() - 2


def test_parameters_are_thincs():
    copy = make_layer().copy()
    fresh = biaffine(5, 3).from_bytes(copy.to_bytes())
    assert isinstance(fresh.ops, NumpyOps)
    assert fresh.get_dim("nO") == 4
    assert fresh.predict(make_inputs()).states[0].shape == (3, 17)
