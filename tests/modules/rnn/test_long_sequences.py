"""Recurrent layers piece by piece."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.modules.rnn.encoder_stack import choose_path
from spacy_rnn.modules.rnn.kernels import run_direction
from spacy_rnn.modules.rnn.long_sequences import Limits

from .test_encoder_stack import CELL, LENGTHS, assert_close, make_stack

pytestmark = pytest.mark.usefixtures("kernels")


@pytest.mark.parametrize("extras", [{}, {"residual": True, "layer_norm": True}])
@given(CELL, st.booleans(), LENGTHS, st.integers(1, 8))
def test_predictions_in_pieces_are_the_same(extras, cell, bidirectional, lengths, size):
    stack = make_stack(cell, bidirectional, **extras)
    X = torch.randn(sum(lengths), 6)
    with torch.inference_mode():
        assert_close(stack(X, lengths, limits=Limits(max_tokens=size)), stack(X, lengths))


@pytest.mark.parametrize("size", [64, 65, 99, 128])
@pytest.mark.parametrize("cell", ["lstm", "gru", "elman", "irnn"])
def test_pieces_that_the_kernels_cut_further(cell, size):
    stack = make_stack(cell)
    lengths = [201, 257, 129]
    X = torch.randn(sum(lengths), 6)
    with torch.inference_mode():
        assert_close(stack(X, lengths, limits=Limits(max_tokens=size)), stack(X, lengths))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru", "elman", "irnn"])
def test_pieces_in_mixed_precision(cell, threads):
    stack, X, before = make_stack(cell), torch.randn(40, 6), torch.get_num_threads()
    limits = Limits(max_tokens=9, k1=4, k2=8)
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            expected = stack(X, [33, 7])
            with torch.autocast("cpu"):
                found = stack(X, [33, 7], limits=limits)
                is_compiled = choose_path(stack.layers[0], X, False, False) == "compiled"
    finally:
        torch.set_num_threads(before)
    # Pieces are in single precision; the compiled kernels have no need of them.
    assert_close(found[:33], expected[:33], tolerance=0.05 if is_compiled else 1e-5)
    assert_close(found[33:], expected[33:], tolerance=0.05)
    grads = []
    for precision in (False, True):
        stack.zero_grad()
        with torch.autocast("cpu", enabled=precision):
            Y = stack(X, [33, 7], is_train=True, limits=limits)
        Y.float().sum().backward()
        grads.append([param.grad.clone() for param in stack.parameters()])
    for ours, theirs in zip(*grads, strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize("path", ["bucketed", "packed"])
def test_truncation_is_for_training(monkeypatch, path):
    calls = []
    monkeypatch.setattr(
        "spacy_rnn.modules.rnn.encoder_stack.run_truncated", lambda *a, **k: calls.append(a)
    )
    monkeypatch.setattr("spacy_rnn.modules.rnn.encoder_stack.choose_path", lambda *a: path)
    stack = make_stack()
    with torch.inference_mode():
        stack(torch.randn(9, 6), [9], limits=Limits(k1=2, k2=4))
    assert not calls


def test_long_and_empty_sequences_only():
    stack, X = make_stack(), torch.randn(9, 6)
    with torch.inference_mode():
        assert_close(stack(X, [0, 9, 0], limits=Limits(max_tokens=2)), stack(X, [0, 9, 0]))


def test_predictions_in_pieces_compute_no_more_than_a_piece(monkeypatch):
    # The compiled kernels need no pieces.
    monkeypatch.setattr("spacy_rnn.modules.rnn.encoder_stack.choose_path", lambda *a: "bucketed")
    stack, sizes = make_stack(), []

    def spy(layer, direction, X, *args):
        sizes.append(len(X))
        return run_direction(layer, direction, X, *args)

    monkeypatch.setattr("spacy_rnn.modules.rnn.long_sequences.run_direction", spy)
    with torch.inference_mode():
        stack(torch.randn(35, 6), [25, 10], limits=Limits(max_tokens=10))
    # Two layers, two directions; the short sequence is in a bucket.
    assert sorted(sizes) == sorted([10, 10, 5] * 4)


def truncate_by_definition(layer, X, dY, k1, k2):
    """BPTT(k2; k1) of one sequence and one layer of torch's: for each piece, the gradient of its
    own outputs, with the state k2 steps before its end taken for a constant.
    """
    results = []
    for start in range(0, len(X), k1):
        end = start + k1
        begin = max(0, end - k2)
        x, state = X.detach().clone().requires_grad_(), None
        if begin:
            with torch.no_grad():
                _, state = layer(x[:begin])
        Y, _ = layer(x[begin:end], state)
        results.append(
            torch.autograd.grad(Y[start - begin :], [x, *layer.parameters()], dY[start:end])
        )
    return [sum(parts) for parts in zip(*results, strict=True)]


@pytest.mark.parametrize("path", ["stepwise", "packed"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "elman", "irnn"])
@pytest.mark.parametrize("k1, k2", [(3, 3), (2, 6), (1, 4)])
def test_truncated_gradients_are_those_of_the_definition(monkeypatch, path, cell, k1, k2):
    monkeypatch.setattr("spacy_rnn.modules.rnn.encoder_stack.choose_path", lambda *a: path)
    stack = make_stack(cell, bidirectional=False)
    del stack.layers[1]
    X, dY = torch.randn(11, 6, requires_grad=True), torch.randn(11, 8)
    Y = stack(X, [11], is_train=True, limits=Limits(k1=k1, k2=k2))
    assert_close(Y, stack(X, [11], is_train=True))
    ours = torch.autograd.grad(Y, [X, *stack.parameters()], dY)
    expected = truncate_by_definition(stack.layers[0], X, dY, k1, k2)
    for mine, theirs in zip(ours, expected, strict=True):
        assert_close(mine, theirs)


@pytest.mark.parametrize("path", ["stepwise", "packed"])
@given(cell=CELL, bidirectional=st.booleans(), lengths=LENGTHS)
def test_truncated_gradients_do_not_depend_on_the_batch(path, cell, bidirectional, lengths):
    stack = make_stack(cell, bidirectional)
    X, dY = torch.randn(sum(lengths), 6, requires_grad=True), torch.randn(sum(lengths), 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spacy_rnn.modules.rnn.encoder_stack.choose_path", lambda *a: path)
        limits = Limits(k1=2, k2=4)
        Y = stack(X, lengths, is_train=True, limits=limits)
        together = torch.autograd.grad(Y, [X, *stack.parameters()], dY)
        alone = []
        for x, dy in zip(X.split(lengths), dY.split(lengths), strict=True):
            if not len(x):
                continue
            y = stack(x, [len(x)], is_train=True, limits=limits)
            alone.append(torch.autograd.grad(y, [X, *stack.parameters()], dy))
    for ours, theirs in zip(together, zip(*alone, strict=True), strict=True):
        assert_close(ours, sum(theirs))


def test_what_is_not_longer_is_not_truncated():
    stack = make_stack("gru")
    X = torch.randn(9, 6, requires_grad=True)
    grads = [
        torch.autograd.grad(stack(X, [9], is_train=True, limits=limits).sum(), X)[0]
        for limits in (Limits(), Limits(k1=3, k2=9), Limits(k1=3, k2=6))
    ]
    assert torch.equal(grads[0], grads[1])
    assert not torch.allclose(grads[0], grads[2])
