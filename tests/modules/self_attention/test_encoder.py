"""Self-attention against its definition, one token and one head at a time."""

import math
import tracemalloc

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.modules.networks import SELF_ATTENTION
from spacy_rnn.modules.self_attention import windows
from spacy_rnn.modules.self_attention.encoder import SelfAttentionEncoder
from spacy_rnn.modules.weights import Weights

pytestmark = pytest.mark.usefixtures("kernels")

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any)
SETTINGS = {"nO": 8, "depth": 2, "heads": 2, "hidden_width": 12, "positions": "rotary", "window": 3}
POSITIONS = st.sampled_from(["rotary", "sinusoidal"])


def make_encoder(**kwargs):
    torch.manual_seed(0)
    settings = {**SETTINGS, **kwargs}
    encoder = SelfAttentionEncoder(5, **settings)
    encoder.settings, encoder.weights = settings, Weights(dict(encoder.named_parameters()))
    with torch.no_grad():
        for param in encoder.parameters():
            param.uniform_(-0.5, 0.5)
    return encoder


def predict(encoder, X, lengths, **kwargs):
    """As the layer's shim does."""
    run = SELF_ATTENTION.choose_predict("cpu", encoder.settings)
    if run is None:
        with torch.inference_mode():
            return encoder(X, lengths, **kwargs)
    Y = run(encoder.weights, encoder.settings, X.numpy(), lengths, int8=False, **kwargs)
    return torch.from_numpy(Y)


def turn(x, position):
    """Each pair of features, as a complex number, times one of angle `position x frequency`."""
    half = len(x) // 2
    turned = x.clone()
    for k in range(half):
        angle = position * 10_000.0 ** (-2 * k / len(x))
        z = complex(x[k], x[half + k]) * complex(math.cos(angle), math.sin(angle))
        turned[k], turned[half + k] = z.real, z.imag
    return turned


def define(encoder, X):
    """The output for one sequence."""
    settings, n = encoder.settings, len(X)
    width = settings["nO"] // settings["heads"]
    X = encoder.input(X)
    if settings["positions"] == "sinusoidal":
        for t in range(n):
            for k in range(4):
                angle = t * 10_000.0 ** (-2 * k / 8)
                X[t, k] += math.sin(angle)
                X[t, 4 + k] += math.cos(angle)
    for layer in encoder.layers:
        normal, Y = layer.attention_norm(X), torch.zeros_like(X)
        Q, K, V = layer.query(normal), layer.key(normal), layer.value(normal)
        for h in range(settings["heads"]):
            part = slice(h * width, (h + 1) * width)
            for t in range(n):
                near = [s for s in range(n) if abs(s - t) <= settings["window"]]
                scores = []
                for s in near:
                    q, k = Q[t, part], K[s, part]
                    if settings["positions"] == "rotary":
                        q, k = turn(q, t), turn(k, s)
                    scores.append(q @ k / math.sqrt(width))
                weights = torch.stack(scores).softmax(dim=0)
                Y[t, part] = weights @ V[near, part]
        X = X + layer.output(Y)
        X = X + layer.shrink(layer.hidden(layer.hidden_norm(X)).relu())
    return encoder.norm(X)


@given(LENGTHS, POSITIONS, st.sampled_from([1, 2, 3, 20]), st.sampled_from([1, 10_000]))
def test_predictions_and_training_equal_the_definition(lengths, positions, window, max_scores):
    encoder = make_encoder(positions=positions, window=window)
    X = torch.randn(sum(lengths), 5)
    with torch.no_grad():
        expected = torch.cat([define(encoder, part) for part in X.split(lengths)])
    before, windows.MAX_SCORES = windows.MAX_SCORES, max_scores
    try:
        found = [predict(encoder, X, lengths), encoder(X, lengths, is_train=True).detach()]
    finally:
        windows.MAX_SCORES = before
    for Y in found:
        torch.testing.assert_close(Y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("positions", ["rotary", "sinusoidal"])
@pytest.mark.parametrize("window", [2, 9])
def test_gradients_are_right(positions, window):
    encoder = make_encoder(positions=positions, window=window).double()
    X = torch.randn(9, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda X: encoder(X, [4, 0, 5], is_train=True), X)


@given(LENGTHS, POSITIONS, st.randoms(use_true_random=False))
def test_a_sequence_is_the_same_in_any_batch(lengths, positions, random):
    encoder = make_encoder(positions=positions)
    sequences = [torch.randn(n, 5) for n in lengths]
    order = list(range(len(lengths)))
    random.shuffle(order)
    together = predict(encoder, torch.cat(sequences), lengths).split(lengths)
    some = [lengths[i] for i in order]
    shuffled = predict(encoder, torch.cat([sequences[i] for i in order]), some).split(some)
    is_compiled = SELF_ATTENTION.choose_predict("cpu", encoder.settings) is not None
    for place, i in enumerate(order):
        # The layer never runs the module on empty sequences alone.
        alone = [predict(encoder, sequences[i], [lengths[i]])] if lengths[i] else []
        for other in (shuffled[place], *alone):
            if is_compiled:
                assert torch.equal(other, together[i])
            else:
                torch.testing.assert_close(other, together[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [2, 20])
def test_attention_weights_are_those_of_the_definition(window):
    encoder, X = make_encoder(depth=1, window=window), torch.randn(7, 5)
    weights = predict(encoder, X, [7], attend=True)
    assert weights.shape == (1, 2, 7, 7)
    torch.testing.assert_close(weights.sum(dim=3), torch.ones(1, 2, 7))
    places = torch.arange(7)
    is_far = (places[:, None] - places).abs() > window
    assert (weights[..., is_far] == 0).all() and (weights[..., ~is_far] > 0).all()
    with torch.no_grad():
        layer = encoder.layers[0]
        values = layer.value(layer.attention_norm(encoder.input(X))).view(7, 2, 4)
        mixed = torch.einsum("hqk,khd->qhd", weights[0], values).flatten(1)
        inner = encoder.input(X) + layer.output(mixed)
        expected = encoder.norm(inner + layer.feed_forward(inner))
    torch.testing.assert_close(predict(encoder, X, [7]), expected, rtol=1e-5, atol=1e-5)


def test_memory_grows_with_the_window_and_not_with_the_square_of_the_length():
    encoder = make_encoder(window=16)
    peaks = []
    for length in (4_000, 16_000):
        X = torch.randn(length, 5)
        tracemalloc.start()
        predict(encoder, X, [length])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 6 * peaks[0]
    # All scores of a layer would take 2 GB.
    assert peaks[1] < 100e6


def test_dropout_does_nothing_in_prediction():
    encoder, X = make_encoder(), torch.randn(6, 5)
    expected = predict(encoder, X, [6])
    with torch.no_grad():
        torch.testing.assert_close(encoder(X, [6], dropout=0.5), expected, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(encoder(X, [6], dropout=0.5, is_train=True), expected)


def test_changed_weights_are_used_at_once():
    encoder, X = make_encoder(), torch.randn(6, 5)
    before = predict(encoder, X, [6])
    with torch.no_grad():
        encoder.layers[1].hidden.weight.mul_(2.0)
    assert not numpy.allclose(before, predict(encoder, X, [6]))


@pytest.mark.parametrize("positions", ["rotary", "sinusoidal"])
def test_mixed_precision_is_close_to_single(positions):
    encoder, X = make_encoder(positions=positions), torch.randn(30, 5)
    single = encoder(X, [7, 23], is_train=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = encoder(X, [7, 23], is_train=True)
    half.sum().backward()
    assert half.dtype == single.dtype
    torch.testing.assert_close(half, single, rtol=0.05, atol=0.05)
