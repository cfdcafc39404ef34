import numpy
import pytest
import torch
from thinc.api import Adam, NumpyOps, fix_random_seed, set_dropout_rate

from spacy_rnn.architectures.encoder import build_rnn_encoder

from .test_torch_shim import make_batch, make_encoder


def test_dims_are_there_as_spacys_layers_expect_them():
    model = build_rnn_encoder(6)
    assert model.get_dim("nO") == 6 and model.has_dim("nI") is None
    model.initialize(X=make_batch())
    assert model.get_dim("nI") == 4
    assert [Y.shape for Y in model.predict(make_batch())] == [(3, 6), (0, 6), (1, 6), (5, 6)]


def test_empty_batches_have_empty_results():
    model = make_encoder()
    Xs = [numpy.zeros((0, 4), dtype="f")] * 2
    assert [Y.shape for Y in model.predict(Xs)] == [(0, 6)] * 2
    Ys, backprop = model.begin_update(Xs)
    assert [dX.shape for dX in backprop(Ys)] == [(0, 4)] * 2
    assert model.predict([]) == []


def test_empty_sequences_do_not_shift_gradients():
    model = make_encoder()
    Xs = make_batch()
    Ys, backprop = model.begin_update(Xs)
    expected = backprop([numpy.ones_like(Y) for Y in Ys])
    order = [1, 0, 1, 3, 2, 1]
    Ys, backprop = model.begin_update([Xs[i] for i in order])
    dXs = backprop([numpy.ones_like(Y) for Y in Ys])
    for i, dX in zip(order, dXs, strict=True):
        assert dX.shape == Xs[i].shape
        numpy.testing.assert_allclose(dX, expected[i], atol=1e-6)


@pytest.mark.parametrize("dropout", [None, 0.0, 0.5])
def test_dropout_follows_the_training_loop_unless_it_is_set(dropout):
    model = make_encoder(dropout=dropout)
    Xs = make_batch()
    set_dropout_rate(model, 0.5 if dropout is None else 0.9)
    Ys, _ = model.begin_update(Xs)
    dropped = (numpy.concatenate(Ys) == 0).mean()
    assert dropped == 0 if dropout == 0 else 0.2 < dropped < 0.8
    assert (numpy.concatenate(model.predict(Xs)) != 0).all()


def test_the_config_decides_on_dropout_and_not_the_file():
    stored = make_encoder(dropout=0.9).to_bytes()
    model = make_encoder(dropout=0.0).from_bytes(stored)
    assert (numpy.concatenate(model.begin_update(make_batch())[0]) != 0).all()
    follows = make_encoder(dropout=None).from_bytes(stored)
    assert (numpy.concatenate(follows.begin_update(make_batch())[0]) != 0).all()


def test_initialising_again_starts_anew():
    model = make_encoder()
    before = model.predict(make_batch())
    model.initialize(X=make_batch(nI=5))
    assert model.get_dim("nI") == 5
    fix_random_seed(0)
    model.initialize(X=make_batch())
    numpy.testing.assert_array_equal(model.predict(make_batch())[0], before[0])


def test_layers_work_when_they_were_made_in_inference_mode():
    with torch.inference_mode():
        model = make_encoder()
        model.from_bytes(model.to_bytes())
        Ys, backprop = model.begin_update(make_batch())
        backprop(Ys)
        model.finish_update(Adam(0.01))
        inside = model.predict(make_batch())
    numpy.testing.assert_array_equal(model.predict(make_batch())[0], inside[0])


def test_prediction_has_no_gradient():
    Ys, backprop = make_encoder()(make_batch(), is_train=False)
    with pytest.raises(ValueError, match="is_train"):
        backprop(Ys)


def test_ops_of_the_layer_are_used_whatever_the_thread_has():
    model = make_encoder()
    model.ops = NumpyOps()
    assert isinstance(model.predict(make_batch())[0], numpy.ndarray)
