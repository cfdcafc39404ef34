"""The compiled kernels compute what torch computes."""

import os
import subprocess
import sys
from functools import cache

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spacy_rnn import kernels as compiled
from spacy_rnn.kernels import (
    HAS_BFLOAT16,
    INSTRUCTIONS,
    PREFERS_BFLOAT16,
    can_run,
)
from spacy_rnn.modules.rnn.cells import make_layer

if INSTRUCTIONS is None:
    pytest.skip("the kernels were not built, or are turned off", allow_module_level=True)

from spacy_rnn.kernels._kernels import (
    LANES,
    Direction,
    Sequences,
    find_distinct,
)
from spacy_rnn.modules.rnn import compiled_prediction as prediction
from spacy_rnn.modules.rnn.compiled_prediction import predict_layer, predict_linear
from spacy_rnn.modules.rnn.compiled_training import train_layer, train_rectangle
from spacy_rnn.modules.rnn.encoder_stack import RecurrentStack
from spacy_rnn.modules.rnn.recurrence import run_steps
from spacy_rnn.modules.rnn.sequences import divide
from spacy_rnn.modules.rnn.weights import N_GATES

# More rows than a group has, more tokens than a chunk, and rests of all kinds.
LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=70).filter(any)
CELLS = ("lstm", "gru")
# Around the width of a vector register, and around four of them, as on the way back.
HIDDEN = (1, 5, LANES, LANES + 3, 4 * LANES, 4 * LANES + 1)
PRECISIONS = (False, True) if HAS_BFLOAT16 else (False,)


@cache
def make(cell: str, hidden: int, nI: int = 7, bidirectional: bool = True) -> nn.RNNBase:
    torch.manual_seed(0)
    layer = make_layer(cell, nI, hidden, bidirectional)
    with torch.no_grad():
        for name, param in layer.named_parameters():
            if name.startswith("bias"):
                param.normal_(std=0.5)
    return layer


def run_torch(layer: nn.RNNBase, X: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    return torch.cat([layer(x)[0] for x in X.split(lengths) if len(x)])


@given(LENGTHS, st.sampled_from(CELLS), st.sampled_from(HIDDEN), st.booleans())
@settings(max_examples=40, deadline=None)
def test_outputs_equal_torch(lengths, cell, hidden, bidirectional):
    layer, X = make(cell, hidden, bidirectional=bidirectional), torch.randn(sum(lengths), 7)
    with torch.inference_mode():
        Y = predict_layer(layer, X, lengths)
        torch.testing.assert_close(Y, run_torch(layer, X, lengths), rtol=1e-5, atol=1e-5)


@given(st.integers(1, 200), st.integers(1, 3 * LANES), st.integers(1, 40), st.integers(0, 9))
@settings(deadline=None)
def test_linear_layers_equal_torch_and_do_not_depend_on_the_batch(n, nO, nI, seed):
    rng = numpy.random.default_rng(seed)
    shapes = ((nO, nI), (nO,), (n, nI))
    weight, bias, X = (rng.normal(size=shape).astype("f") for shape in shapes)
    Y = predict_linear(weight, bias, X)
    assert Y.shape == (n, nO)
    numpy.testing.assert_allclose(Y, X @ weight.T + bias, rtol=1e-5, atol=1e-5)
    alone = [predict_linear(weight, bias, X[i : i + 1]) for i in (0, n // 2, n - 1)]
    assert all((y == Y[i]).all() for y, i in zip(alone, (0, n // 2, n - 1), strict=True))
    assert predict_linear(weight, bias, X[:0]).shape == (0, nO)


def round_off(X: torch.Tensor) -> torch.Tensor:
    return X.to(torch.bfloat16).float()


def run_rounded(layer: nn.RNNBase, X: torch.Tensor) -> torch.Tensor:
    """Run one direction over one sequence, the factors of all products rounded to bfloat16."""
    weight_ih, weight_hh, bias_ih, bias_hh = layer._flat_weights[:4]
    h = c = torch.zeros(layer.hidden_size)
    outputs = []
    for x in X:
        ours = round_off(weight_ih) @ round_off(x) + bias_ih
        recurrent = round_off(weight_hh) @ round_off(h) + bias_hh
        if layer.mode == "LSTM":
            i, f, g, o = (ours + recurrent).chunk(4)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        else:
            (r, z, n), (r_h, z_h, n_h) = ours.chunk(3), recurrent.chunk(3)
            n = (n + (r + r_h).sigmoid() * n_h).tanh()
            h = n + (z + z_h).sigmoid() * (h - n)
        outputs.append(h)
    return torch.stack(outputs)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="needs a processor with AVX512-BF16")
@given(LENGTHS, st.sampled_from(CELLS), st.sampled_from(HIDDEN), st.sampled_from((1, 6, 33)))
@settings(max_examples=20, deadline=None)
def test_half_precision_rounds_factors_of_products_only(lengths, cell, hidden, nI):
    layer, X = make(cell, hidden, nI, False), torch.randn(sum(lengths), nI)
    with torch.inference_mode():
        Y = predict_layer(layer, X, lengths, half=True)
        expected = torch.cat([run_rounded(layer, x) for x in X.split(lengths) if len(x)])
    # A sum in another order can be rounded to the next of its neighbours, once in a while.
    torch.testing.assert_close(Y, expected, rtol=1e-2, atol=1e-2)
    assert (Y - expected).abs().median() < 1e-6


@given(
    LENGTHS,
    st.sampled_from(CELLS),
    st.sampled_from(HIDDEN),
    st.booleans(),
    st.sampled_from(PRECISIONS),
)
@settings(max_examples=40, deadline=None)
def test_a_sequence_is_the_same_to_the_bit_in_every_batch(lengths, cell, hidden, repeats, half):
    layer = make(cell, hidden)
    X = torch.randn(sum(lengths), 7)
    if repeats:
        # So that the batch projects distinct inputs, and some of its sequences do not.
        X = X[torch.arange(len(X)) % 5]
    with torch.inference_mode():
        Y = predict_layer(layer, X, lengths, repeats=repeats, half=half)
        alone = [predict_layer(layer, x, [len(x)], half=half) for x in X.split(lengths) if len(x)]
    assert torch.equal(Y, torch.cat(alone))


@given(LENGTHS, st.sampled_from(CELLS), st.sampled_from(HIDDEN), st.booleans())
@settings(max_examples=60, deadline=None)
def test_gradients_equal_torch(lengths, cell, hidden, bidirectional):
    layer = make(cell, hidden, bidirectional=bidirectional)
    X = torch.randn(sum(lengths), 7)
    results = []
    for run in (train_layer, run_torch):
        inputs = X.clone().requires_grad_()
        Y = run(layer, inputs, lengths)
        weights = torch.linspace(-1, 1, Y.numel()).view(Y.shape)
        grads = torch.autograd.grad((Y * weights).sum(), [inputs, *layer.parameters()])
        results.append([Y.detach(), *grads])
    for ours, theirs in zip(*results, strict=True):
        scale = max(1.0, theirs.abs().max().item())
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * scale)


def run_rectangle(run, mode, X, weights, n_rows, state):
    inputs = [part.clone().requires_grad_() for part in (X, *weights)]
    steps = [(i, i + n_rows) for i in range(0, X.shape[1], n_rows)]
    Y, last = run(mode, inputs[0], inputs[1:], steps, state)
    assert Y.dtype is torch.float32 and not any(part.requires_grad for part in last)
    factors = torch.linspace(-1, 1, Y.numel()).view(Y.shape)
    return [Y.detach(), *last, *torch.autograd.grad((Y * factors).sum(), inputs)]


@pytest.mark.parametrize("half", PRECISIONS)
@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("mode", ["LSTM", "GRU"])
@pytest.mark.parametrize(
    ("n_directions", "n_rows", "n_threads", "hidden"),
    [
        (2, 3, 1, 5),
        (1, 100, 1, 3),
        (1, 50, 3, LANES),
        (2, 7, 2, LANES + 3),
        (2, 1, 2, 4 * LANES + 1),
    ],
)
def test_rectangles_equal_steps(
    monkeypatch, n_directions, n_rows, n_threads, hidden, mode, with_state, half
):
    monkeypatch.setattr("spacy_rnn.modules.rnn.sequences.MIN_WORK", 1)
    torch.manual_seed(hidden)
    width = N_GATES[mode] * hidden
    shapes = [(width, 7), (width, hidden), (width,), (width,)]
    weights = [0.3 * torch.randn(n_directions, *shape) for shape in shapes]
    X = torch.randn(n_directions, 6 * n_rows, 7)
    n_states = 2 if mode == "LSTM" else 1
    state = tuple(torch.randn(n_states, n_directions, n_rows, hidden)) if with_state else None
    expected = run_rectangle(run_steps, mode, X, weights, n_rows, state)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = run_rectangle(train_rectangle, mode, X, weights, n_rows, state)
    finally:
        torch.set_num_threads(before)
    for ours, theirs in zip(found, expected, strict=True):
        scale = max(1.0, theirs.abs().max().item())
        # Products round their factors to eight bits, several steps in a row.
        tolerance = 0.03 if half else 1e-5
        torch.testing.assert_close(ours, theirs, rtol=0 if half else 1e-5, atol=tolerance * scale)
        assert not half or not torch.equal(ours, theirs)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="needs a processor with AVX512-BF16")
@pytest.mark.parametrize("cell", CELLS)
def test_training_in_half_precision_is_close_and_is_what_is_predicted(cell):
    layer, lengths = make(cell, LANES + 3), [5, 0, 9, 1]
    X, results = torch.randn(15, 7, requires_grad=True), []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            Y = train_layer(layer, X, lengths)
        results.append([Y, *torch.autograd.grad(Y.square().sum(), [X, *layer.parameters()])])
    for single, rounded in zip(*results, strict=True):
        assert not torch.equal(single, rounded)
        assert (single - rounded).abs().max() < 0.03 * max(1.0, single.abs().max().item())
    with torch.inference_mode():
        assert torch.equal(predict_layer(layer, X, lengths, half=True), results[1][0])


@pytest.mark.parametrize(("lengths", "n_parts"), [([n % 13 for n in range(200)], 6), ([900], 1)])
@pytest.mark.parametrize("cell", CELLS)
def test_several_threads_give_the_same(cell, lengths, n_parts, monkeypatch):
    layer = make(cell, LANES)
    X = torch.randn(sum(lengths), 7)
    n_threads = torch.get_num_threads()
    with torch.inference_mode():
        Y = predict_layer(layer, X, lengths)
        assert not divide(lengths, 1)[1]
        monkeypatch.setattr("spacy_rnn.modules.rnn.sequences.MIN_WORK", 1)
        try:
            torch.set_num_threads(3)
            parts, in_threads = divide(lengths, 1)
            assert (len(parts), in_threads) == (n_parts, True)
            assert torch.equal(predict_layer(layer, X, lengths), Y)
        finally:
            torch.set_num_threads(n_threads)


@pytest.mark.parametrize("lengths", [[n % 13 for n in range(200)], [900]], ids=["many", "one"])
@pytest.mark.parametrize("cell", CELLS)
def test_training_in_several_threads_gives_the_same(cell, lengths, monkeypatch):
    layer = make(cell, LANES)
    X = torch.randn(sum(lengths), 7, requires_grad=True)
    n_threads, results = torch.get_num_threads(), []
    try:
        for threads, min_work in ((1, 10**9), (3, 1)):
            torch.set_num_threads(threads)
            monkeypatch.setattr("spacy_rnn.modules.rnn.sequences.MIN_WORK", min_work)
            Y = train_layer(layer, X, lengths)
            results.append([Y, *torch.autograd.grad(Y.square().sum(), [X, *layer.parameters()])])
    finally:
        torch.set_num_threads(n_threads)
    for one, several in zip(*results, strict=True):
        torch.testing.assert_close(one, several, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_the_weights_that_were_used():
    layer, X = make_layer("lstm", 7, 5, True), torch.randn(9, 7, requires_grad=True)
    results = []
    for factor in (1.0, 3.0):
        Y = train_layer(layer, X, [4, 5])
        for param in layer.parameters():
            # As an optimizer of Thinc's does, unseen by torch.
            param.data.mul_(factor)
        results.append(torch.autograd.grad(Y.sum(), [X, *layer.parameters()]))
    for before, after in zip(*results, strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("hidden", [LANES, 5])
@pytest.mark.parametrize("nI", [1, 7])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_laid_out_stays_as_it_is(cell, nI, hidden):
    layer = make_layer(cell, nI, hidden, False)
    direction = prediction.get_direction(layer, 0)
    X, (sequence,) = numpy.ones((4, nI), dtype="float32"), divide([4], 1)[0]
    before, after = numpy.zeros((2, 4, hidden), dtype="float32")
    direction.forward(sequence, False, before, 0, X=X)
    for param in layer.parameters():
        param.data.add_(1.0)
    direction.forward(sequence, False, after, 0, X=X)
    numpy.testing.assert_array_equal(before, after)


@given(LENGTHS, st.integers(1, 10**9))
def test_parts_have_all_sequences_once(lengths, n_weights):
    ends = numpy.cumsum(lengths)
    parts, _ = divide(lengths, n_weights)
    assert max((part.end for part in parts), default=0) == ends[-1]
    layer, covered = make("gru", 1), numpy.zeros((ends[-1], 2), dtype="float32")
    direction = prediction.get_direction(layer, 0)
    X = numpy.ones((ends[-1], 7), dtype="float32")
    for part in parts:
        before = covered[:, 1] != 0
        direction.forward(part, False, covered, 1, X=X)
        # No token belongs to two of them.
        again = numpy.zeros_like(covered)
        direction.forward(part, False, again, 1, X=X)
        assert not (before & (again[:, 1] != 0)).any()
    assert (covered[:, 1] != 0).all()


@pytest.mark.parametrize("cell", CELLS)
def test_large_numbers_saturate_and_nan_stays_in_its_sequence(cell):
    layer, lengths = make(cell, 5), [4, 4, 4]
    X = torch.randn(12, 7)
    X[0] *= 1e6
    X[5] = float("nan")
    with torch.inference_mode():
        Y = predict_layer(layer, X, lengths)
        expected = run_torch(layer, X, lengths)
    assert Y[:4].isfinite().all() and Y[8:].isfinite().all()
    assert torch.equal(Y.isnan(), expected.isnan())
    torch.testing.assert_close(Y, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("cell", CELLS)
def test_predictions_need_no_inference_mode(cell):
    stack = RecurrentStack(7, 10, depth=2, cell=cell, layer_norm=True)
    X = torch.randn(9, 7, requires_grad=True)
    Y = stack(X, [5, 0, 4])
    with torch.inference_mode():
        assert torch.equal(Y, stack(X, [5, 0, 4]))


def test_kernels_that_were_not_built_can_not_be_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy_rnn.kernels._kernels", None)
    monkeypatch.setenv("SPACY_RNN_KERNELS", "avx2")
    with pytest.raises(RuntimeError, match=r"avx2.*compiler"):
        compiled._find_instructions()
    monkeypatch.setenv("SPACY_RNN_KERNELS", "none")
    assert compiled._find_instructions() == (None, False)
    monkeypatch.delenv("SPACY_RNN_KERNELS")
    assert compiled._find_instructions() == (None, False)


def test_changed_weights_are_used():
    layer = make_layer("lstm", 3, 4, True)
    X = torch.randn(5, 3)
    with torch.no_grad():
        before = predict_layer(layer, X, [5])
        layer.weight_hh_l0_reverse.mul_(2)
        after = predict_layer(layer, X, [5])
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])


@given(st.lists(st.integers(0, 5), max_size=50), st.integers(1, 5))
def test_distinct_rows(numbers, width):
    # Different in the last column only.
    rows = numpy.ones((len(numbers), width), dtype="float32")
    rows[:, -1] = numbers
    index, first = find_distinct(rows)
    assert len(first) == len(set(numbers))
    assert numpy.array_equal(rows[first][index], rows)


def test_what_is_theirs():
    X, single, half = torch.zeros(1, 7), torch.float32, torch.bfloat16
    lstm, gru = make("lstm", 5), make("gru", 5)
    for layer in (lstm, gru):
        assert can_run(layer, X, single)
        assert can_run(layer, X, half) == PREFERS_BFLOAT16
        assert can_run(layer, X, half, steady=True) == HAS_BFLOAT16
    assert not can_run(lstm, X, torch.float16)
    assert not can_run(make("elman", 5), X, single)
    assert not can_run(lstm, X.double(), single)
    assert not can_run(make_layer("lstm", 7, 5, True).double(), X, single)
    assert not can_run(lstm, X.to("meta"), single)


def test_wrong_arrays_are_refused():
    direction = prediction.get_direction(make("lstm", 5), 0)
    X, Y = numpy.zeros((4, 7), dtype="float32"), numpy.zeros((4, 5), dtype="float32")
    one = numpy.array([0]), numpy.array([4])
    direction.forward(Sequences(*one), False, Y, 0, X=X)
    direction.forward(Sequences(numpy.array([0]), numpy.array([2]), 3), False, Y, 0, X=X)
    with pytest.raises(ValueError, match="expected"):
        direction.forward(Sequences(numpy.array([0]), numpy.array([2]), 4), False, Y, 0, X=X)
    with pytest.raises(ValueError, match="expected"):
        direction.forward(Sequences(*one), False, Y, 1, X=X)
    with pytest.raises(ValueError, match="expected"):
        direction.forward(Sequences(*one), False, Y, 0, X=X[:3])
    with pytest.raises(ValueError, match="expected"):
        direction.forward(Sequences(*one), False, Y, 0)
    with pytest.raises(ValueError, match="No row 9"):
        gates = numpy.zeros((2, direction.width), dtype="float32")
        index = numpy.array([0, 1, 9, 0])
        direction.forward(Sequences(*one), False, Y, 0, gates=gates, index=index)
    with pytest.raises(ValueError, match="expected"):
        direction.forward(Sequences(numpy.array([1]), one[1]), False, Y, 0, X=X)
    with pytest.raises(ValueError, match="falling length"):
        Sequences(numpy.array([0, 1]), numpy.array([1, 3]))
    with pytest.raises(ValueError, match=r"States of shape \(4, 7\) for 1"):
        direction.forward(Sequences(*one), False, Y, 0, X=X, state=X)
    with pytest.raises(ValueError, match="No stride 0"):
        Sequences(*one, 0)
    with pytest.raises(ValueError, match="one width"):
        direction.forward(Sequences(*one), False, Y, 0, X=X, residual=True)
    with pytest.raises(ValueError, match="No column -1"):
        direction.forward(Sequences(*one), False, Y, 0, X=X, x_column=-1)
    with pytest.raises(ValueError, match="expected"):
        direction.forward(Sequences(*one), False, Y, 0, X=X, x_column=1)
    with pytest.raises(ValueError, match="expected"):
        ones = numpy.ones((1, 1, 4, 1), dtype="float32")
        Direction(4, 1, 5, ones, ones[0], ones, ones[0, 0])


@pytest.mark.parametrize("name", ["avx512", "avx2", "base"])
def test_every_instruction_set_equals_torch(name):
    if os.environ.get("SPACY_RNN_KERNELS"):
        pytest.skip("this is one of them")
    tests = f"{__file__}::test_outputs_equal_torch {__file__}::test_gradients_equal_torch"
    tests += f" {__file__}::test_large_numbers_saturate_and_nan_stays_in_its_sequence"
    tests += f" {__file__}::test_rectangles_equal_steps"
    tests += f" {__file__}::test_linear_layers_equal_torch_and_do_not_depend_on_the_batch"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests.split()]
    environment = {**os.environ, "SPACY_RNN_KERNELS": name}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if "no such kernels" in run.stdout + run.stderr:
        pytest.skip(f"this processor has no {name}")
    assert run.returncode == 0, run.stdout
    assert "passed" in run.stdout and "skipped" not in run.stdout
