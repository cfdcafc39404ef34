from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.kernels import HAS_BFLOAT16, HAS_INT8
from spacy_rnn.modules import workers
from spacy_rnn.modules.cache import mark_changed
from spacy_rnn.modules.networks import ENCODER
from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.modules.rnn.encoder_stack import EncoderStack
from spacy_rnn.modules.rnn.limits import Limits
from spacy_rnn.modules.weights import Weights

from .test_layers import assert_close, define

pytestmark = pytest.mark.usefixtures("kernels")

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)
CELL = st.sampled_from(sorted(CELLS))
EXTRAS = st.sampled_from([{}, {"residual": True}, {"layer_norm": True}, {"bidirectional": False}])


SETTINGS = {"nO": 8, "depth": 3, "bidirectional": True, "residual": False, "layer_norm": False}


def make_stack(cell="lstm", **kwargs):
    torch.manual_seed(0)
    settings = {**SETTINGS, "cell": cell, **kwargs}
    stack = EncoderStack(5, **settings)
    stack.settings, stack.weights = settings, Weights(dict(stack.named_parameters()))
    with torch.no_grad():
        for param in stack.parameters():  # No zeros or identities that could hide a mistake.
            param.uniform_(-0.4, 0.4)
    return stack


def predict(stack, X, lengths, int8=False):
    """As the layer's shim does."""
    run = ENCODER.choose_predict("cpu", stack.settings)
    if run is None:
        with torch.inference_mode():
            return stack(X, lengths)
    Y = run(stack.weights, stack.settings, X.detach().numpy(), lengths, int8=int8)
    return torch.from_numpy(Y)


def run_by_definition(stack, cell, X, lengths):
    for i, weights in enumerate(stack.get_weights()):
        shared = X if i == 0 or len(weights) == 1 else torch.cat([X, X], dim=1)
        run = partial(define, width=weights[0][0].shape[1])
        X = stack.finish_layer(i, X, run(cell, weights, shared, lengths)[0])
    return X


@given(CELL, EXTRAS, LENGTHS)
def test_predictions_equal_the_definition_and_training(cell, extras, lengths):
    stack = make_stack(cell, **extras)
    X = torch.randn(sum(lengths), 5)
    Y = predict(stack, X, lengths)
    with torch.inference_mode():
        assert_close(Y, run_by_definition(stack, cell, X, lengths))
        for limits in (Limits(), Limits(max_tokens=4)):
            assert_close(stack(X, lengths, limits=limits), Y)
    assert_close(stack(X, lengths, is_train=True).detach(), Y)


@given(CELL, EXTRAS, LENGTHS, st.randoms(use_true_random=False))
def test_a_sequence_is_the_same_in_any_batch(cell, extras, lengths, random):
    stack = make_stack(cell, **extras)
    # Some rows repeat, as embeddings of words do, and are projected once.
    sequences = [torch.randn(3, 5)[torch.arange(n) % 3] for n in lengths]
    order = list(range(len(lengths)))
    random.shuffle(order)
    together = predict(stack, torch.cat(sequences), lengths).split(lengths)
    shuffled = predict(
        stack, torch.cat([sequences[i] for i in order]), [lengths[i] for i in order]
    ).split([lengths[i] for i in order])
    for place, i in enumerate(order):
        alone = predict(stack, sequences[i], [lengths[i]])
        for other in (shuffled[place], alone):
            if ENCODER.choose_predict("cpu", stack.settings) is not None:
                assert torch.equal(other, together[i])
            else:
                assert_close(other, together[i])


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_threads_change_nothing(cell, monkeypatch):
    stack, lengths = make_stack(cell), [20, 0, 1, 7, *range(9)]
    X = torch.randn(sum(lengths), 5)
    expected = predict(stack, X, lengths)
    monkeypatch.setattr(workers, "MIN_WORK", 1)
    monkeypatch.setattr(workers, "count_threads", lambda: 2)
    assert_close(predict(stack, X, lengths), expected)
    with torch.inference_mode():
        assert_close(stack(X, lengths), expected)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_changed_weights_are_used_at_once(cell):
    stack, X = make_stack(cell), torch.randn(5, 5)
    before = predict(stack, X, [5])
    with torch.no_grad():
        stack.layers[0].weight_hh_l0 += 1.0
    assert not torch.allclose(before, predict(stack, X, [5]))
    # As Thinc's optimizer writes to them.
    stack.layers[0].weight_hh_l0.data -= 1.0
    mark_changed([stack.layers[0].weight_hh_l0])
    assert_close(predict(stack, X, [5]), before)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_truncation_changes_gradients_only(cell):
    stack, X = make_stack(cell), torch.randn(21, 5)
    grads = []
    for limits in (Limits(), Limits(k1=2, k2=4), Limits(k1=50, k2=50)):
        stack.zero_grad()
        Y = stack(X, [17, 0, 4], is_train=True, limits=limits)
        (Y * Y).sum().backward()
        grads.append([Y.detach(), *(p.grad.clone() for p in stack.parameters())])
    whole, truncated, too_long = grads
    assert_close(truncated[0], whole[0])
    assert any(not torch.allclose(a, b) for a, b in zip(truncated[1:], whole[1:], strict=True))
    for a, b in zip(too_long, whole, strict=True):
        assert_close(a, b)


def test_locked_dropout_has_one_mask_for_all_tokens_of_a_sequence():
    stack = make_stack()
    torch.manual_seed(1)
    Y = stack(torch.randn(30, 5), [10, 20], dropout=0.5, is_train=True)
    for sequence in Y.split([10, 20]):
        dropped = sequence == 0
        assert dropped[0].any() and not dropped.all()
        assert (dropped == dropped[0]).all()


def test_dropout_does_nothing_in_prediction_and_is_seeded_in_training():
    stack = make_stack()
    X = torch.randn(7, 5)
    with torch.inference_mode():
        assert_close(stack(X, [7], dropout=0.5), stack(X, [7]))
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append(stack(X, [7], dropout=0.5, is_train=True))
    assert torch.equal(*runs)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_mixed_precision_is_close_to_single(cell):
    stack, X, lengths = make_stack(cell), torch.randn(16, 5), [3, 0, 9, 1, 3]
    results = []
    for enabled in (False, True):
        stack.zero_grad()
        with torch.autocast("cpu", enabled=enabled):
            Y = stack(X, lengths, is_train=True).float()
        (Y * Y).sum().backward()
        grads = [param.grad for param in stack.parameters() if param.grad is not None]
        results.append([Y.detach(), *(grad.clone() for grad in grads)])
    for single, half in zip(*results, strict=True):
        assert half.dtype == torch.float32
        assert_close(half, single, tolerance=0.05 * max(1.0, float(single.abs().max())))
    # Torch's layers run in single precision on a CPU.
    has_bf16 = ENCODER.choose_predict("cpu", stack.settings) is not None and HAS_BFLOAT16
    assert torch.equal(results[0][0], results[1][0]) == (not has_bf16)


@pytest.mark.skipif(not HAS_INT8, reason="no instructions for 8-bit integers")
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_8_bit_integers_are_close_to_single_precision(cell):
    stack, X, lengths = make_stack(cell), torch.randn(16, 5), [3, 0, 9, 1, 3]
    single, whole = (predict(stack, X, lengths, int8=int8) for int8 in (False, True))
    assert_close(whole, single, tolerance=0.03 * max(1.0, float(single.abs().max())))
    is_compiled = ENCODER.choose_predict("cpu", stack.settings) is not None
    assert torch.equal(whole, single) == (not is_compiled)
    alone = predict(stack, X[3:12], [9], int8=True)
    assert torch.equal(alone, whole[3:12]) or not is_compiled
