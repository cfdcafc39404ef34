import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.kernels import HAS_INT8
from spacy_rnn.modules import workers
from spacy_rnn.modules.networks import LM_STACK
from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.modules.rnn.lm_stack import LMStack
from spacy_rnn.modules.weights import Weights

from .test_layers import assert_close, define

pytestmark = pytest.mark.usefixtures("kernels")

DEFAULTS = {"width": 5, "hidden": None, "depth": 2, "directions": "both", "residual": True}
LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any)
KINDS = st.sampled_from(
    [{}, {"hidden": 7}, {"residual": False}, {"directions": "forward"}, {"depth": 3}]
)


def make_stack(cell="lstm", **settings):
    torch.manual_seed(0)
    settings = {**DEFAULTS, "cell": cell, **settings}
    stack = LMStack(**settings)
    stack.settings = settings
    with torch.no_grad():
        for param in stack.parameters():
            param.uniform_(-0.4, 0.4)
    return stack


def is_compiled(stack):
    return LM_STACK.choose_predict("cpu", stack.settings) is not None


def predict(stack, X, lengths, *, half=False, **kwargs):
    """Predict as the shim does: on arrays, or without kernels by the module."""
    run = LM_STACK.choose_predict("cpu", stack.settings)
    if run is None:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            return stack(X, lengths, **kwargs).float()
    weights = Weights(dict(stack.named_parameters()))
    int8 = half and HAS_INT8
    return torch.from_numpy(run(weights, stack.settings, X.numpy(), lengths, int8=int8, **kwargs))


def read_alone(stack, cell, X, direction):
    """By definition, what a direction makes of one sequence after the boundary, layer by layer."""
    X = torch.cat([stack.boundary, X.flip(0) if direction else X])
    outputs = []
    for i, weights in enumerate(stack.get_weights()):
        Y, _ = define(cell, [weights[direction]], X, [len(X)])
        if stack.projections:
            Y = Y @ stack.projections[i][direction]
        X = X + Y if stack.residual and i else Y
        outputs.append(X[1:].flip(0) if direction else X[1:])
    return outputs


@pytest.mark.parametrize("is_train", [False, True])
@given(st.sampled_from(sorted(CELLS)), KINDS, LENGTHS)
def test_layers_equal_the_definition(is_train, cell, settings, lengths):
    stack = make_stack(cell, **settings)
    X = torch.randn(sum(lengths), 5)
    found = stack(X, lengths, is_train=True) if is_train else predict(stack, X, lengths)
    assert found.shape == (len(X), len(stack.layers) + 1, stack.n_directions * 5)
    for y, x in zip(found.split(lengths), X.split(lengths), strict=True):
        for direction in range(stack.n_directions):
            half = y[:, :, 5 * direction : 5 * direction + 5]
            torch.testing.assert_close(half[:, 0], x)
            for i, expected in enumerate(read_alone(stack, cell, x, direction)):
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
            (stack(x, [length], is_train=True) if is_train else predict(stack, x, [length]))[place]
            for x in (X, before, after)
        )
    assert torch.equal(whole[:, :5], other_end[:, :5])
    assert torch.equal(whole[:, 5:], other_start[:, 5:])
    if place:
        assert not torch.allclose(whole[1:, :5], other_start[1:, :5])
    if place < length - 1:
        assert not torch.allclose(whole[1:, 5:], other_end[1:, 5:])


@given(st.sampled_from(sorted(CELLS)), KINDS, LENGTHS, LENGTHS, st.booleans())
def test_predictions_do_not_depend_on_the_batch(cell, settings, first, second, half):
    stack, lengths = make_stack(cell, **settings), first + second
    X = torch.randn(sum(lengths), 5)
    whole = predict(stack, X, lengths, half=half)
    alone = [
        predict(stack, X[: sum(first)], first, half=half),
        predict(stack, X[sum(first) :], second, half=half),
    ]
    if is_compiled(stack):
        assert torch.equal(whole, torch.cat(alone))
    else:
        assert_close(whole, torch.cat(alone))


@pytest.mark.parametrize("settings", [{}, {"hidden": 7}])
def test_threads_change_nothing(settings, monkeypatch):
    stack, lengths = make_stack(**settings), [20, 0, 1, 7, *range(9)]
    X = torch.randn(sum(lengths), 5)
    expected = predict(stack, X, lengths)
    monkeypatch.setattr(workers, "MIN_WORK", 1)
    monkeypatch.setattr(workers, "count_threads", lambda: 2)
    assert_close(predict(stack, X, lengths), expected)


@given(st.sampled_from(sorted(CELLS)), KINDS, st.sampled_from([[2, 0, 1], [0], []]))
def test_outputs_at_the_boundary(cell, settings, lengths):
    stack = make_stack(cell, **settings)
    X = torch.randn(sum(lengths), 5)
    *tokens, last = predict(stack, X, lengths, with_boundary=True)
    assert len(tokens) == len(X)
    if tokens:
        assert_close(torch.stack(tokens), predict(stack, X, lengths))
    boundary = last.view(len(last), stack.n_directions, 5)
    with torch.no_grad():
        assert_close(boundary[0], stack.boundary.expand(stack.n_directions, 5))
        for direction in range(stack.n_directions):
            # The boundary read as the first of two.
            outputs = read_alone(stack, cell, stack.boundary, direction)
            x = stack.boundary
            for i, weights in enumerate(stack.get_weights()):
                Y, _ = define(cell, [weights[direction]], x, [1])
                Y = Y @ stack.projections[i][direction] if stack.projections else Y
                x = x + Y if stack.residual and i else Y
                assert_close(boundary[i + 1, direction], x[0])
            assert len(outputs) == len(boundary) - 1


def test_predictions_and_training_agree_in_half_precision():
    stack = make_stack()
    X, lengths = torch.randn(30, 5), [9, 0, 1, 20]
    single, half = predict(stack, X, lengths), predict(stack, X, lengths, half=True)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        train = stack(X, lengths, is_train=True).float()
    assert (half - single).abs().max() < 0.05
    assert (train - single).abs().max() < 0.05


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_state_carried_over_is_as_good_as_one_piece(cell):
    stack, rows, n_steps = make_stack(cell, depth=3), 4, 6
    X = torch.randn(2, rows, n_steps, 5)

    def run(first, last, states=None):
        # The backward direction reads from the end.
        piece = [X[0, :, first:last], X[1, :, n_steps - last : n_steps - first]]
        inputs = torch.cat(piece, dim=2).flatten(0, 1)
        outputs, states = stack.run(inputs, [last - first] * rows, states)
        return [Y.view(rows, last - first, 2, 5) for Y in outputs], states

    whole, last = run(0, 6)
    first, states = run(0, 3)
    second, end = run(3, 6, states)
    for i in range(3):
        forward = torch.cat([first[i][:, :, 0], second[i][:, :, 0]], dim=1)
        backward = torch.cat([second[i][:, :, 1], first[i][:, :, 1]], dim=1)
        assert_close(torch.stack([forward, backward], dim=2), whole[i])
        for ours, theirs in zip(end[i], last[i], strict=True):
            assert_close(ours, theirs)
            assert not ours.requires_grad


def test_dropout_is_the_same_at_all_steps_and_weight_drop_changes_weights():
    stack = make_stack(depth=1)
    X = torch.ones(12, 10)
    outputs, _ = stack.run(X, [4] * 3, dropout=0.5)
    dropped = (outputs[-1] == 0).view(3, 4, 10)
    assert 0 < dropped.float().mean() < 1
    assert (dropped == dropped[:, :1]).all()
    plain, other = (
        stack.run(X, [4] * 3, weight_drop=rate)[0][-1].view(3, 4, 10) for rate in (0.0, 0.5)
    )
    # Where a direction begins, there is no state to multiply with them.
    assert_close(other[:, 0, :5], plain[:, 0, :5])
    assert not torch.allclose(plain[:, 1:, :5], other[:, 1:, :5])
