"""Each fault of Thinc's PyTorchShim that ours is there to mend."""

import copy
import pickle
import threading

import numpy
import pytest
import srsly
import torch
from thinc.api import SGD, Adam, Linear, Model, chain, fix_random_seed
from torch import nn

from spacy_rnn.architectures.encoder import build_rnn_encoder
from spacy_rnn.kernels import HAS_BFLOAT16
from spacy_rnn.layers.torch_shim import TorchShim, find_layers
from spacy_rnn.modules.networks import ENCODER, POOLING
from spacy_rnn.modules.rnn.cells import CELLS


def make_encoder(nI=4, width=6, **kwargs):
    fix_random_seed(0)
    model = build_rnn_encoder(width, depth=1, **kwargs)
    model.initialize(X=[numpy.zeros((2, nI), dtype="f")])
    return model


def make_batch(nI=4, seed=0):
    rng = numpy.random.default_rng(seed)
    return [rng.normal(size=(n, nI)).astype("f") for n in (3, 0, 1, 5)]


def train(model, optimizer, steps=5, seed=0):
    for step in range(steps):
        Ys, backprop = model.begin_update(make_batch(seed=seed + step))
        backprop([numpy.ones_like(Y) for Y in Ys])
        model.finish_update(optimizer)


def get_weights(model):
    return {n: p.detach().clone() for n, p in model.shims[0].module.named_parameters()}


def same(A, B):
    return all(torch.equal(A[name], B[name]) for name in A)


def test_averaged_parameters_are_used_and_given_back():
    model, optimizer = make_encoder(), Adam(0.1, use_averages=True)
    train(model, optimizer)
    weights, before = get_weights(model), model.predict(make_batch())
    shim = model.shims[0]
    with model.use_params(optimizer.averages):
        averaged, during = get_weights(model), model.predict(make_batch())
        for name, value in averaged.items():
            average = optimizer.averages[(shim.id, f"torch.{name}")]
            numpy.testing.assert_array_equal(value.numpy(), average)
    assert not same(averaged, weights)
    assert same(get_weights(model), weights)
    assert not numpy.allclose(before[0], during[0])
    numpy.testing.assert_array_equal(model.predict(make_batch())[0], before[0])


def test_parameters_are_given_back_after_an_error():
    model, optimizer = make_encoder(), Adam(0.1, use_averages=True)
    train(model, optimizer)
    weights = get_weights(model)
    with pytest.raises(ZeroDivisionError), model.shims[0].use_params(optimizer.averages):
        raise ZeroDivisionError
    assert same(get_weights(model), weights)


def test_prediction_never_switches_the_module():
    model = make_encoder()
    switched = []
    model.shims[0].module.train = lambda mode=True: switched.append(mode)
    model.predict(make_batch())
    model.begin_update(make_batch())
    assert switched == []


def test_threads_predict_while_others_train():
    model = make_encoder(dropout=0.5)
    batch = make_batch()
    expected = model.predict(batch)
    failures = []

    def predict():
        for _ in range(50):
            for Y, other in zip(model.predict(batch), expected, strict=True):
                if not numpy.allclose(Y, other, atol=1e-5):
                    failures.append(Y)

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        model.begin_update(batch)
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize(
    "clone",
    [Model.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_are_equal_and_independent(clone):
    model, optimizer = make_encoder(), Adam(0.1)
    train(model, optimizer)
    twin = clone(model)
    assert same(get_weights(twin), get_weights(model))
    assert twin.shims[0].id != model.shims[0].id
    before = get_weights(model)
    train(twin, optimizer)
    assert same(get_weights(model), before)
    assert not same(get_weights(twin), before)
    assert {key[0] for key in optimizer.nr_update} == {twin.shims[0].id, model.shims[0].id}


def test_prediction_by_torch_is_in_inference_mode(monkeypatch):
    monkeypatch.setattr("spacy_rnn.kernels.INSTRUCTIONS", None)
    model = make_encoder()
    seen = []
    model.shims[0].module.register_forward_hook(
        lambda *args: seen.append((torch.is_inference_mode_enabled(), args[2].requires_grad))
    )
    model.predict(make_batch())
    assert seen == [(True, False)]


def test_stored_weights_are_no_pickles():
    stored = make_encoder().shims[0].to_bytes()
    message = srsly.msgpack_loads(stored)
    assert b"__metadata__" in message["tensors"][:200] or message["tensors"][8:9] == b"{"
    assert b"\x80\x02" not in stored[:4] and b"torch._utils" not in stored


def test_updates_happen_where_the_parameters_lie():
    model = make_encoder()
    places = {n: p.data_ptr() for n, p in model.shims[0].module.named_parameters()}
    for optimizer in (Adam(0.1), SGD(0.1, L2=0.1)):
        before = get_weights(model)
        train(model, optimizer)
        assert {n: p.data_ptr() for n, p in model.shims[0].module.named_parameters()} == places
        assert not same(get_weights(model), before)


def test_training_equals_torchs_own_adam():
    model = make_encoder(grad_clip_norm=0.0)
    twin = copy.deepcopy(model.shims[0].module)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.01)
    ours = Adam(0.01, grad_clip=0.0, use_averages=False, L2=0.0)
    for step in range(3):
        Xs = make_batch(seed=step)
        Ys, backprop = model.begin_update(Xs)
        backprop([numpy.ones_like(Y) for Y in Ys])
        model.finish_update(ours)
        X = torch.from_numpy(numpy.concatenate(Xs))
        twin(X, [3, 0, 1, 5], is_train=True).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    for ours_param, theirs in zip(
        model.shims[0].module.parameters(), twin.parameters(), strict=True
    ):
        assert torch.allclose(ours_param, theirs, atol=2e-5)


def gradients(model, scale=1.0):
    Ys, backprop = model.begin_update(make_batch())
    dXs = backprop([numpy.full_like(Y, scale) for Y in Ys])
    return dXs, [p.grad for p in model.shims[0].module.parameters()]


def apply_gradients(model):
    """What an update subtracts from the weights, with a learning rate of one."""
    before = get_weights(model)
    model.finish_update(SGD(1.0, grad_clip=0.0, use_averages=False, L2=0.0))
    after = get_weights(model)
    return torch.cat([(before[n] - after[n]).flatten() for n in before])


def test_gradients_are_clipped_by_global_norm():
    model = make_encoder(grad_clip_norm=0.5)
    gradients(model, scale=100.0)
    assert apply_gradients(model).norm().item() == pytest.approx(0.5, rel=1e-3)
    unclipped = make_encoder(grad_clip_norm=0.0)
    gradients(unclipped, scale=100.0)
    assert apply_gradients(unclipped).norm().item() > 5


def test_gradients_are_clipped_by_element():
    model = make_encoder(grad_clip_norm=0.0, grad_clip_value=0.01)
    gradients(model, scale=100.0)
    assert apply_gradients(model).abs().max().item() == pytest.approx(0.01, rel=1e-3)


def test_accumulated_gradients_are_unscaled_once():
    # As on a GPU with mixed precision, but with a scaler that works on any device.
    class Scaler:
        found_inf = False

        def scale(self, tensor, inplace=False):
            return tensor * 1024

        def unscale(self, tensors):
            for tensor in tensors:
                tensor /= 1024
            return False

        def update(self):
            pass

    plain, scaled = make_encoder(), make_encoder()
    scaled.shims[0]._scaler = Scaler()
    dXs = []
    for model in (plain, scaled):
        gradients(model)
        dXs.append(gradients(model)[0])
    for A, B in zip(*dXs, strict=True):
        numpy.testing.assert_allclose(A, B, rtol=1e-5)
    assert torch.allclose(apply_gradients(plain), apply_gradients(scaled), rtol=1e-4)


def test_overflown_gradients_are_left_out():
    class Scaler:
        found_inf = False

        def scale(self, tensor, inplace=False):
            return tensor * float("inf")

        def unscale(self, tensors):
            return True

        def update(self):
            self.updated = True

    model = make_encoder()
    model.shims[0]._scaler = scaler = Scaler()
    dXs, _ = gradients(model)
    assert all((dX == 0).all() for dX in dXs)
    assert apply_gradients(model).abs().max() == 0
    assert scaler.updated
    assert all(p.grad is None for p in model.shims[0].module.parameters())


@pytest.mark.parametrize("has_instructions", [True, False])
def test_mixed_precision_follows_the_device(monkeypatch, has_instructions):
    for module in ("modules.backend", "layers.torch_shim"):
        monkeypatch.setattr(f"spacy_rnn.{module}.has_bfloat16", lambda: has_instructions)
    monkeypatch.setattr("spacy_rnn.kernels.PREFERS_BFLOAT16", HAS_BFLOAT16)
    model = make_encoder(mixed_precision=True)
    plain = make_encoder()
    with pytest.MonkeyPatch.context() as patch:
        devices = []
        autocast = torch.autocast
        patch.setattr(
            torch,
            "autocast",
            lambda device, enabled=True, **kw: (
                devices.append((device, enabled)) or autocast(device, enabled=enabled, **kw)
            ),
        )
        Y, _ = model.begin_update(make_batch())
    assert (("cpu", True) in devices) == has_instructions
    assert Y[0].dtype == numpy.float32
    difference = abs(Y[0] - plain.begin_update(make_batch())[0][0]).max()
    assert difference < 0.05 and (difference > 0) == (has_instructions and HAS_BFLOAT16)
    _, grads = gradients(model)
    assert all(grad.dtype == torch.float32 for grad in grads)


def test_a_copy_gets_rid_of_nothing():
    model = make_encoder(grad_clip_norm=0.25, mixed_precision=True)
    twin = model.copy().shims[0]
    assert (twin.grad_clip_norm, twin.mixed_precision) == (0.25, True)
    assert twin.settings == model.shims[0].settings


class TestLoading:
    def test_round_trip_into_a_fresh_model(self):
        model = make_encoder()
        train(model, Adam(0.1))
        fresh = build_rnn_encoder(6, depth=1).from_bytes(model.to_bytes())
        for A, B in zip(fresh.predict(make_batch()), model.predict(make_batch()), strict=True):
            numpy.testing.assert_array_equal(A, B)
        assert fresh.get_dim("nI") == 4

    def test_an_uninitialised_model_stays_so(self):
        stored = build_rnn_encoder(6).to_bytes()
        model = build_rnn_encoder(6).from_bytes(stored)
        with pytest.raises(ValueError, match="initialize the pipeline"):
            model.predict(make_batch())

    @pytest.mark.parametrize("damage", [lambda b: b[:-20], lambda b: b"\x00" * 50, lambda b: b""])
    def test_damaged_weights_change_nothing(self, damage):
        model = make_encoder()
        before = get_weights(model)
        with pytest.raises(ValueError, match="damaged"):
            model.shims[0].from_bytes(damage(model.shims[0].to_bytes()))
        assert same(get_weights(model), before)

    @pytest.mark.parametrize("part", [{"settings": [1]}, {"inferred": {"foo": 1}}, {"inferred": 3}])
    def test_foreign_weights_are_refused(self, part):
        shim = make_encoder().shims[0]
        message = {**srsly.msgpack_loads(shim.to_bytes()), **part}
        with pytest.raises(ValueError, match=r"weights"):
            shim.from_bytes(srsly.msgpack_dumps(message))

    def test_other_settings_are_named(self):
        stored = make_encoder(cell="gru").shims[0].to_bytes()
        shim = make_encoder(cell="lstm").shims[0]
        with pytest.raises(ValueError, match=r"cell = 'gru'.*cell = 'lstm'"):
            shim.from_bytes(stored)

    def test_other_shapes_are_named(self):
        shim = make_encoder().shims[0]
        message = srsly.msgpack_loads(shim.to_bytes())
        message["inferred"] = {"nI": 9}
        with pytest.raises(ValueError, match=r"'rnn_encoder'.*weight_ih_l0.*\(12, 4\).*\(12, 9\)"):
            shim.from_bytes(srsly.msgpack_dumps(message))


def test_averages_of_another_shape_change_nothing():
    model = make_encoder()
    shim, before = model.shims[0], get_weights(model)
    averages = {(shim.id, f"torch.{name}"): value.numpy() + 1 for name, value in before.items()}
    averages[(shim.id, f"torch.{list(before)[-1]}")] = numpy.zeros((1, 2, 3), dtype="f")
    with pytest.raises(RuntimeError), shim.use_params(averages):
        pass
    assert same(get_weights(model), before)


def test_half_precision_does_not_depend_on_the_batch():
    for cell in sorted(CELLS):
        model = make_encoder(nI=8, width=16, cell=cell, mixed_precision=True)
        Xs = make_batch(nI=8)
        for X, together in zip(Xs, model.predict(Xs), strict=True):
            if len(X):
                assert numpy.abs(model.predict([X])[0] - together).max() <= 1e-5, cell


def test_unknown_devices_are_refused():
    shim = TorchShim("linear", nn.Linear, {"in_features": 2, "out_features": 2})
    with pytest.raises(ValueError, match="tpu"):
        shim.to_device("tpu", 0)


def test_layers_are_found_by_their_network():
    encoder, outer = make_encoder(), build_rnn_encoder(6, depth=1)
    model = chain(encoder, chain(Linear(), outer))
    # Initialised or not.
    assert find_layers(model, ENCODER) == [encoder, outer]
    assert find_layers(model, POOLING) == []
    assert find_layers(model, POOLING, ENCODER) == [encoder, outer]
    assert find_layers(copy.deepcopy(encoder), ENCODER) != []
    assert find_layers(Linear(), ENCODER) == []
