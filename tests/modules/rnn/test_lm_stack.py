import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.kernels import can_run
from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.modules.rnn.kernels import has_rectangle_kernel, run_rectangle
from spacy_rnn.modules.rnn.lm_stack import DirectedStack, Readings
from spacy_rnn.modules.rnn.recurrence import get_product_dtype, run_steps

pytestmark = pytest.mark.usefixtures("kernels")

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any)
KINDS = st.sampled_from(
    [{}, {"hidden": 7}, {"residual": False}, {"directions": "forward"}, {"depth": 3}]
)


def make_stack(cell="lstm", **settings):
    torch.manual_seed(0)
    stack = DirectedStack(5, **{"cell": cell, **settings})
    with torch.no_grad():
        for param in stack.parameters():
            param.uniform_(-0.4, 0.4)
    return stack


def read_alone(stack, X, direction):
    """What torch.nn makes of one sequence, layer by layer, without the boundary."""
    if direction:
        X = X.flip(0)
    X = torch.cat([stack.boundary, X])
    outputs = []
    for i, layer in enumerate(stack.layers):
        suffix = "_l0_reverse" if direction else "_l0"
        twin = type(layer)(layer.input_size, layer.hidden_size)
        if layer.mode.startswith("RNN"):
            twin = torch.nn.RNN(
                layer.input_size, layer.hidden_size, nonlinearity=layer.mode[4:].lower()
            )
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(twin, f"{name}_l0").data = getattr(layer, name + suffix).data
        Y = twin(X)[0]
        if stack.projections:
            Y = Y @ stack.projections[i][direction]
        X = X + Y if stack.residual and i else Y
        outputs.append(X[1:].flip(0) if direction else X[1:])
    return outputs


@pytest.mark.parametrize("is_train", [False, True])
@given(st.sampled_from(sorted(CELLS)), KINDS, LENGTHS)
def test_layers_equal_torch_per_sequence_and_direction(is_train, cell, settings, lengths):
    stack = make_stack(cell, **settings)
    X = torch.randn(sum(lengths), 5)
    with torch.set_grad_enabled(is_train):
        found = stack(X, lengths, is_train=is_train)
    assert found.shape == (len(X), len(stack.layers) + 1, stack.n_directions * 5)
    for y, x in zip(found.split(lengths), X.split(lengths), strict=True):
        for direction in range(stack.n_directions):
            half = y[:, :, 5 * direction : 5 * direction + 5]
            torch.testing.assert_close(half[:, 0], x)
            for i, expected in enumerate(read_alone(stack, x, direction)):
                torch.testing.assert_close(half[:, i + 1], expected, atol=1e-5, rtol=1e-5)


@given(st.sampled_from(sorted(CELLS)), st.integers(1, 8), st.integers(0, 7), st.booleans())
def test_directions_never_see_each_others_future(cell, length, place, is_train):
    stack, place = make_stack(cell), min(place, length - 1)
    X = torch.randn(length, 5)
    before, after = X.clone(), X.clone()
    before[:place] += 1
    after[place + 1 :] += 1
    with torch.no_grad():
        whole, other_start, other_end = (
            stack(x, [length], is_train=is_train)[place] for x in (X, before, after)
        )
    assert torch.equal(whole[:, :5], other_end[:, :5])
    assert torch.equal(whole[:, 5:], other_start[:, 5:])
    if place:
        assert not torch.allclose(whole[1:, :5], other_start[1:, :5])
    if place < length - 1:
        assert not torch.allclose(whole[1:, 5:], other_end[1:, 5:])


def test_predictions_and_training_agree_in_half_precision():
    stack = make_stack()
    X, lengths = torch.randn(30, 5), [9, 0, 1, 20]
    with torch.no_grad():
        single = stack(X, lengths)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = stack(X, lengths).float()
            train = stack(X, lengths, is_train=True).float()
    assert (half - single).abs().max() < 0.05
    assert (train - single).abs().max() < 0.05


@given(st.sampled_from(["lstm", "gru"]), KINDS, LENGTHS, LENGTHS)
def test_half_precision_does_not_depend_on_the_batch_with_our_kernels(
    cell, settings, first, second
):
    stack, lengths = make_stack(cell, **settings), first + second
    X = torch.randn(sum(lengths), 5)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        dtype = get_product_dtype(X)
        if stack.projections or not can_run(stack.layers[0], X, dtype):
            return
        whole = stack(X, lengths)
        alone = [stack(X[: sum(first)], first), stack(X[sum(first) :], second)]
    assert torch.equal(whole, torch.cat(alone))


def test_a_state_carried_over_is_as_good_as_one_piece():
    stack = make_stack(depth=3)
    rows, n_steps = 4, 6
    X = torch.randn(2, n_steps * rows, 5)
    steps = [(i * rows, (i + 1) * rows) for i in range(n_steps)]
    row_of = torch.arange(rows).repeat(n_steps)
    whole, last = stack.run(X, steps, row_of)
    half = n_steps // 2 * rows
    first, states = stack.run(X[:, :half], steps[:3], row_of[:half])
    second, end = stack.run(X[:, half:], steps[:3], row_of[:half], states)
    for i in range(3):
        torch.testing.assert_close(torch.cat([first[i], second[i]], dim=1), whole[i])
        for ours, theirs in zip(end[i], last[i], strict=True):
            torch.testing.assert_close(ours, theirs)
            assert not ours.requires_grad


def test_dropout_is_the_same_at_all_steps_and_weight_drop_changes_weights():
    stack = make_stack(depth=1)
    rows = torch.arange(3).repeat(4)
    X = torch.ones(2, 12, 5)
    steps = [(i * 3, (i + 1) * 3) for i in range(4)]
    outputs, _ = stack.run(X, steps, rows, dropout=0.5)
    dropped = (outputs[-1] == 0).view(2, 4, 3, 5)
    assert 0 < dropped.float().mean() < 1
    assert (dropped == dropped[:, :1]).all()
    plain, dropped_weights = (
        stack.run(X, steps, rows, weight_drop=rate)[0][-1] for rate in (0.0, 0.5)
    )
    # The first step has no state to multiply with them.
    torch.testing.assert_close(plain[:, :3], dropped_weights[:, :3])
    assert not torch.allclose(plain[:, 3:], dropped_weights[:, 3:])


@pytest.mark.parametrize("with_state", [True, False])
def test_rectangle_kernel_equals_our_steps(with_state):
    torch.manual_seed(1)
    rows, n_steps, nI, hidden = 3, 5, 8, 16
    steps = [(i * rows, (i + 1) * rows) for i in range(n_steps)]
    shapes = [(2, 4 * hidden, nI), (2, 4 * hidden, hidden), (2, 4 * hidden), (2, 4 * hidden)]
    weights = [(torch.randn(shape) * 0.3).requires_grad_() for shape in shapes]
    X = torch.randn(2, rows * n_steps, nI, requires_grad=True)
    if not has_rectangle_kernel("LSTM", X, steps):
        pytest.skip("torch has no such kernel on this machine")
    state = tuple(torch.randn(2, rows, hidden) for _ in range(2)) if with_state else None
    results = []
    for run in (run_steps, run_rectangle):
        Y, last = run("LSTM", X, weights, steps, state)
        grads = torch.autograd.grad((Y * Y).sum(), [X, *weights])
        assert not any(part.requires_grad for part in last)
        results.append([Y, *last, *grads])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_rectangle_kernel_is_for_rectangles():
    X = torch.zeros(1, 5, 4)
    assert not has_rectangle_kernel("LSTM", X, [(0, 3), (3, 5)])
    assert not has_rectangle_kernel("GRU", X, [(0, 5)])


def test_readings_of_an_empty_sequence_are_a_boundary():
    readings = Readings.from_lengths([2, 0, 1], 2, torch.device("cpu"))
    assert readings.sources.tolist() == [[3, 0, 1, 3, 3, 2], [3, 1, 0, 3, 3, 2]]
    assert readings.places.tolist() == [[1, 2, 5], [2, 1, 5]]
    assert readings.lengths == [3, 1, 2]
    assert numpy.prod(Readings.from_lengths([0], 1, torch.device("cpu")).places.shape) == 0


def test_kernels_that_are_compiled_for_a_shape_are_for_usual_shapes(monkeypatch):
    stack, calls = make_stack(), []
    X, steps, rows = torch.zeros(2, 6, 5), [(0, 3), (3, 6)], torch.arange(3).repeat(2)
    if not has_rectangle_kernel("LSTM", X, steps):
        pytest.skip("torch has no such kernel on this machine")
    # Ours are for all shapes, and chosen first.
    monkeypatch.setattr("spacy_rnn.kernels.INSTRUCTIONS", None)
    count = lambda *args: calls.append(1) or run_rectangle(*args)  # noqa: E731
    monkeypatch.setattr("spacy_rnn.modules.rnn.lm_stack.run_rectangle", count)
    stack.run(X, steps, rows)
    stack(torch.zeros(6, 5), [3, 3], is_train=True)
    assert not calls
    stack.run(X, steps, rows, is_usual_shape=True)
    assert len(calls) == 2
