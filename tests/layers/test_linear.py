import numpy
import pytest
from thinc.api import Linear

from spacy_rnn.layers.linear import linear


@pytest.mark.parametrize("n_rows", [0, 1, 50])
def test_it_is_thincs_layer(n_rows):
    X = numpy.random.RandomState(0).normal(size=(n_rows, 7)).astype("float32")
    ours, theirs = linear(3).initialize(X=X), Linear(3).initialize(X=X)
    bias = numpy.arange(3, dtype="float32")
    ours.set_param("b", bias)
    theirs.from_bytes(ours.to_bytes())
    numpy.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5, atol=1e-5)
    results = []
    for model in (ours, theirs):
        Y, backprop = model.begin_update(X)
        results.append([Y, backprop(numpy.ones_like(Y)), model.get_grad("W"), model.get_grad("b")])
    for our_array, their_array in zip(*results, strict=True):
        numpy.testing.assert_array_equal(our_array, their_array)
