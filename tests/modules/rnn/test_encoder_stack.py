import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.kernels import HAS_BFLOAT16, INSTRUCTIONS, PREFERS_BFLOAT16
from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.modules.rnn.encoder_stack import RecurrentStack, choose_path

pytestmark = pytest.mark.usefixtures("kernels")

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)
CELL = st.sampled_from(sorted(CELLS))


def make_stack(cell="lstm", bidirectional=True, **kwargs):
    torch.manual_seed(0)
    stack = RecurrentStack(6, 8, depth=2, cell=cell, bidirectional=bidirectional, **kwargs)
    with torch.no_grad():
        for param in stack.parameters():  # No zeros or identities that could hide a mistake.
            param.uniform_(-0.4, 0.4)
    return stack


def run_alone(stack, X, lengths):
    """What torch.nn makes of each sequence by itself."""
    outputs = []
    for x in X.split(lengths):
        if len(x):
            for i, layer in enumerate(stack.layers):
                x = stack._finish_layer(i, x, layer(x)[0])
            outputs.append(x)
    return torch.cat(outputs)


def assert_close(A, B, tolerance=1e-5):
    assert A.shape == B.shape
    assert ((A - B).abs() <= tolerance * B.abs().clamp(min=1)).all(), (A - B).abs().max()


@pytest.mark.parametrize("extras", [{}, {"residual": True, "layer_norm": True}])
@given(CELL, st.booleans(), LENGTHS)
def test_predictions_equal_torch_per_sequence(extras, cell, bidirectional, lengths):
    stack = make_stack(cell, bidirectional, **extras)
    X = torch.randn(sum(lengths), 6)
    with torch.inference_mode():
        assert_close(stack(X, lengths), run_alone(stack, X, lengths))


@given(CELL, st.booleans(), LENGTHS)
def test_gradients_equal_torch_per_sequence(cell, bidirectional, lengths):
    stack = make_stack(cell, bidirectional)
    results = []
    X = torch.randn(sum(lengths), 6)
    dY = torch.randn(sum(lengths), 8)
    for run in (lambda x: stack(x, lengths, is_train=True), lambda x: run_alone(stack, x, lengths)):
        stack.zero_grad()
        x = X.clone().requires_grad_()
        Y = run(x)
        Y.backward(dY)
        results.append([Y, x.grad, *(p.grad.clone() for p in stack.parameters())])
    for ours, torchs in zip(*results, strict=True):
        assert_close(ours, torchs)


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("bidirectional", [True, False])
def test_gradients_in_double_precision(cell, bidirectional):
    stack = make_stack(cell, bidirectional).double()
    X = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    params = list(stack.parameters())

    def run(X, *params):
        return stack(X, [3, 0, 1, 5], is_train=True)

    assert torch.autograd.gradcheck(run, (X, *params), fast_mode=cell != "irnn")


@given(CELL, LENGTHS, st.randoms(use_true_random=False))
def test_a_sequence_is_the_same_in_any_batch(cell, lengths, random):
    stack = make_stack(cell)
    sequences = [torch.randn(n, 6) for n in lengths]
    order = list(range(len(lengths)))
    random.shuffle(order)
    with torch.inference_mode():
        together = stack(torch.cat(sequences), lengths).split(lengths)
        shuffled = stack(torch.cat([sequences[i] for i in order]), [lengths[i] for i in order])
        shuffled = shuffled.split([lengths[i] for i in order])
        for place, i in enumerate(order):
            assert_close(shuffled[place], together[i])
            assert_close(stack(sequences[i], [lengths[i]]), together[i])


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_training_and_prediction_agree_on_long_ragged_batches(cell):
    stack = make_stack(cell)
    lengths = [700, 0, 1, 350, *([20] * 200), *range(40)]
    X = torch.randn(sum(lengths), 6)
    trained = stack(X, lengths, is_train=True)
    with torch.inference_mode():
        assert_close(stack(X, lengths), trained.detach())


def test_updated_weights_are_used_at_once():
    # oneDNN's copies of the weights must follow them.
    stack = make_stack()
    X = torch.randn(5, 6)
    with torch.inference_mode():
        before = stack(X, [5])
    with torch.no_grad():
        stack.layers[0].weight_hh_l0 += 1.0
    with torch.inference_mode():
        after = stack(X, [5])
        assert_close(after, run_alone(stack, X, [5]))
    assert not torch.allclose(before, after)


def test_locked_dropout_has_one_mask_for_all_tokens_of_a_sequence():
    stack = make_stack()
    torch.manual_seed(1)
    Y = stack(torch.randn(30, 6), [10, 20], dropout=0.5, is_train=True)
    for sequence in Y.split([10, 20]):
        dropped = sequence == 0
        assert dropped[0].any() and not dropped.all()
        assert (dropped == dropped[0]).all()


def test_dropout_does_nothing_in_prediction_and_is_seeded_in_training():
    stack = make_stack()
    X = torch.randn(7, 6)
    with torch.inference_mode():
        assert_close(stack(X, [7], dropout=0.5), stack(X, [7]))
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append(stack(X, [7], dropout=0.5, is_train=True))
    assert torch.equal(*runs)


def test_initialisation_follows_the_literature():
    torch.manual_seed(0)
    lstm = RecurrentStack(6, 8, depth=1, cell="lstm", bidirectional=False).layers[0]
    for block in lstm.weight_hh_l0.view(4, 8, 8):
        assert_close(block @ block.T, torch.eye(8))
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).view(4, 8)
    assert bias[1].tolist() == [1.0] * 8
    assert bias[[0, 2, 3]].abs().sum() == 0
    irnn = RecurrentStack(6, 8, depth=1, cell="irnn", bidirectional=False).layers[0]
    assert torch.equal(irnn.weight_hh_l0, torch.eye(8))
    assert irnn.bias_ih_l0.abs().sum() + irnn.bias_hh_l0.abs().sum() == 0
    assert irnn.mode == "RNN_RELU"


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_path_is_chosen_by_cell_device_precision_and_mode(cell, kernels):
    layer, X = make_stack(cell).layers[0], torch.zeros(1, 6)
    is_compiled = kernels == "compiled" and INSTRUCTIONS is not None
    is_ours = is_compiled and cell in ("lstm", "gru")
    assert choose_path(layer, X, False, False) == ("compiled" if is_ours else "bucketed")
    assert choose_path(layer, X, True, False) == ("compiled" if is_ours else "stepwise")
    assert choose_path(layer, X, True, True) == "stepwise"
    with torch.autocast("cpu"):
        steady, faster = is_ours and HAS_BFLOAT16, is_ours and PREFERS_BFLOAT16
        assert choose_path(layer, X, False, False) == ("compiled" if steady else "bucketed")
        assert choose_path(layer, X, True, False) == ("compiled" if faster else "stepwise")
        if steady:
            # As where torch's kernels are the faster ones: what they predict depends on the batch.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("spacy_rnn.kernels.PREFERS_BFLOAT16", False)
                assert choose_path(layer, X, False, False) == "compiled"
                assert choose_path(layer, X, True, False) == "stepwise"
    elsewhere = X.to("meta")
    assert {choose_path(layer, elsewhere, mode, False) for mode in (True, False)} == {"packed"}


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("is_train", [True, False])
def test_mixed_precision_is_close_to_single(cell, is_train, kernels):
    stack, X, lengths = make_stack(cell), torch.randn(16, 6), [3, 0, 9, 1, 3]
    results = []
    for enabled in (False, True):
        stack.zero_grad()
        with torch.set_grad_enabled(is_train), torch.autocast("cpu", enabled=enabled):
            Y = stack(X, lengths, is_train=is_train).float()
        if is_train:
            (Y * Y).sum().backward()
        grads = [param.grad for param in stack.parameters() if param.grad is not None]
        results.append([Y.detach(), *(grad.clone() for grad in grads)])
    for single, half in zip(*results, strict=True):
        assert half.dtype == torch.float32
        assert_close(half, single, tolerance=0.05 * max(1.0, float(single.abs().max())))
    has_kernels = kernels == "compiled" and HAS_BFLOAT16 and cell in ("lstm", "gru")
    assert torch.equal(results[0][0], results[1][0]) == (not is_train and not has_kernels)


def test_packed_path_agrees(monkeypatch):
    stack = make_stack()
    X = torch.randn(16, 6)
    lengths = [3, 0, 9, 1, 3]
    expected = stack(X, lengths, is_train=True)
    monkeypatch.setattr("spacy_rnn.modules.rnn.encoder_stack.choose_path", lambda *a: "packed")
    assert_close(stack(X, lengths, is_train=True), expected)


def test_predictions_without_torchs_private_kernels_agree(monkeypatch):
    monkeypatch.setattr("spacy_rnn.modules.rnn.encoder_stack.choose_path", lambda *a: "bucketed")
    stack = make_stack()
    X, lengths = torch.randn(22, 6), [3, 9, 0, 1, 9]
    with torch.inference_mode():
        expected = stack(X, lengths)
        monkeypatch.setattr("spacy_rnn.modules.rnn.kernels._HAS_PACKING", False)
        assert_close(stack(X, lengths), expected)
