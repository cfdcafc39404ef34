"""Every cell on every backend equals its definition: values, gradients, states, in any batch."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.kernels import HAS_BFLOAT16, INSTRUCTIONS
from spacy_rnn.modules import workers
from spacy_rnn.modules.rnn import torch_layers
from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.modules.rnn.choose import choose_run_layer
from spacy_rnn.modules.rnn.layer import get_weights, make_layer
from spacy_rnn.modules.rnn.truncation import run_truncated

# Cells with a compiled kernel, and each cell with what runs it.
COMPILED = [name for name, cell in CELLS.items() if INSTRUCTIONS is not None and cell.kernel]
RUNS = [*(("compiled", cell) for cell in COMPILED), *(("torch", cell) for cell in CELLS)]
NI = 5
# Around the width of a vector register, and around four of them.
UNITS = [1, 7, 16, 19, 64, 65]
# Empty sequences first, in the middle, last and only; more rows than a group and more tokens than a
# chunk have.
PATTERNS = [[], [0], [1], [0, 3, 0, 1, 5, 0], [99, 2], [*range(7)] * 8]
LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=20)


def make_weights(cell, units, bidirectional=True, dtype=torch.float32):
    """Weights without zeros or identities, which could hide a mistake."""
    torch.manual_seed(0)
    layer = make_layer(cell, NI, units, bidirectional)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-0.4, 0.4).mul_(min(1.0, 4 / units**0.5))
    return [[p.detach().to(dtype).requires_grad_() for p in own] for own in get_weights(layer)]


def make_state(cell, n_directions, n_sequences, units):
    torch.manual_seed(1)
    shape = (n_directions, n_sequences, units)
    return tuple(torch.rand(shape) - 0.5 for _ in range(CELLS[cell].n_states))


def get_run_layer(backend):
    if backend == "torch":
        return torch_layers.run_layer
    from spacy_rnn.modules.rnn import compiled_layers

    return compiled_layers.run_layer


def define(cell, weights, X, lengths, state=None, since=0, width=NI):
    """The definition, sequence by sequence and step by step, in the precision of the weights. The
    state before step `since` is a constant.
    """
    units, halves, last = weights[0][1].shape[1], [], []
    for i, (w, u, b, c, *extra) in enumerate(weights):
        x = X if X.shape[1] == width else X[:, i * width : (i + 1) * width]
        outputs, ends = [], []
        for number, tokens in enumerate(x.split(lengths)):
            now = tuple(X.new_zeros(1, units) for _ in range(CELLS[cell].n_states))
            if state is not None:
                now = tuple(part[i, number : number + 1].to(X.dtype) for part in state)
            hidden = []
            for step, token in enumerate(tokens.flip(0) if i else tokens):
                if step == since:
                    now = tuple(part.detach() for part in now)
                now = CELLS[cell].step(token @ w.T + b.unsqueeze(0), now[0] @ u.T + c, now, *extra)
                hidden.append(now[0])
            outputs += hidden[::-1] if i else hidden
            ends.append(now)
        halves.append(torch.cat(outputs) if outputs else X.new_zeros(0, units))
        last.append([torch.cat(parts) for parts in zip(*ends, strict=True)])
    states = [torch.stack(parts) for parts in zip(*last, strict=True)] if lengths else state
    return torch.cat(halves, dim=1), states


def assert_close(found, expected, tolerance=1e-5):
    assert found.shape == expected.shape
    difference = (found.double() - expected.double()).abs()
    assert (difference <= tolerance * expected.double().abs().clamp(min=1)).all(), difference.max()


def differentiate(run, X, weights):
    x = X.clone().requires_grad_()
    Y, *_ = run(weights, x)
    torch.manual_seed(2)
    dY = torch.randn(Y.shape, dtype=torch.float64)
    if not len(Y):
        return [Y.detach()]
    flat = [p for own in weights for p in own]
    return [Y.detach(), *torch.autograd.grad(Y, [x, *flat], dY.to(Y.dtype))]


@pytest.mark.parametrize(("backend", "cell"), RUNS)
@pytest.mark.parametrize("lengths", PATTERNS, ids=str)
@pytest.mark.parametrize(
    ("has_state", "is_shared", "bidirectional"),
    [(False, True, False), (False, True, True), (True, False, True), (True, True, True)],
)
def test_layers_equal_the_definition(backend, cell, lengths, has_state, is_shared, bidirectional):
    check_layer(backend, cell, 7, lengths, has_state, is_shared, bidirectional)


@pytest.mark.parametrize(("backend", "cell"), RUNS)
@pytest.mark.parametrize("units", UNITS)
def test_widths(backend, cell, units):
    check_layer(backend, cell, units, [3, 0, 5, 1], True, True, True)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="no instructions for bfloat16")
@pytest.mark.parametrize("cell", COMPILED)
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("has_state", [False, True])
def test_half_precision(cell, units, has_state, monkeypatch):
    monkeypatch.setattr("spacy_rnn.kernels.PREFERS_BFLOAT16", True)
    with torch.autocast("cpu"):
        tolerance = 0.1 if cell == "irnn" else 0.05
        check_layer("compiled", cell, units, [3, 0, 5, 1], has_state, True, True, tolerance)


def check_layer(backend, cell, units, lengths, has_state, is_shared, bidirectional, tolerance=1e-5):
    weights = make_weights(cell, units, bidirectional)
    X = torch.randn(sum(lengths), NI if is_shared else NI * len(weights))
    state = make_state(cell, len(weights), len(lengths), units) if has_state else None
    run = get_run_layer(backend)
    found = differentiate(lambda w, x: run(CELLS[cell], w, x, lengths, state), X, weights)
    double = [[p.detach().double().requires_grad_() for p in own] for own in weights]
    with torch.autocast("cpu", enabled=False):
        expected = differentiate(
            lambda w, x: define(cell, w, x, lengths, state), X.double(), double
        )
        with torch.no_grad():
            _, ends = define(cell, double, X.double(), lengths, state)
    for ours, defined in zip(found, expected, strict=True):
        if tolerance > 1e-5:
            # Rounding moves single units across the kink of a rectifier.
            assert (ours - defined).norm() <= tolerance * defined.norm()
            continue
        scale = max(1.0, float(defined.abs().max())) if defined.numel() else 1.0
        assert_close(ours / scale, defined / scale)
    if lengths:
        _, last = run(CELLS[cell], weights, X, lengths, state)
        for ours, defined in zip(last, ends, strict=True):
            assert not ours.requires_grad
            scale = max(1.0, float(defined.abs().max()))
            assert_close(ours / scale, defined / scale, tolerance)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [[3, 0, 1, 5], [1]])
def test_gradients_in_double_precision(cell, lengths):
    weights = make_weights(cell, 4, dtype=torch.float64)
    flat = [p for own in weights for p in own]
    X = torch.randn(sum(lengths), NI, dtype=torch.float64, requires_grad=True)

    def run(X, *flat):
        own = [flat[: len(flat) // 2], flat[len(flat) // 2 :]]
        return torch_layers.run_layer(CELLS[cell], own, X, lengths)[0]

    assert torch.autograd.gradcheck(run, (X, *flat), fast_mode=cell != "irnn")


@pytest.mark.parametrize(("backend", "cell"), RUNS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [[9], [0, 9, 4, 1, 7]], ids=str)
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (2, 4), (3, 3), (4, 8)])
def test_truncated_backpropagation(backend, cell, bidirectional, lengths, k1, k2):
    weights = make_weights(cell, 7, bidirectional)
    X = torch.randn(sum(lengths), NI)
    run = partial(run_truncated, get_run_layer(backend), k1=k1, k2=k2)
    found = differentiate(lambda w, x: run(CELLS[cell], w, x, lengths), X, weights)
    # By definition: for each piece, the gradient of its own outputs, with the state k2 steps before
    # its end taken for a constant.
    torch.manual_seed(2)
    double = [[p.detach().double().requires_grad_() for p in own] for own in weights]
    x = X.double().requires_grad_()
    args = [x, *(p for own in double for p in own)]
    dY = torch.randn(len(X), 7 * len(weights), dtype=torch.float64)
    sums = [torch.zeros_like(arg) for arg in args]
    for start in range(0, max(lengths), k1):
        Y, _ = define(cell, double, x, lengths, since=max(0, start + k1 - k2))
        own = torch.zeros_like(dY)
        for i in range(len(weights)):
            steps = torch.cat([torch.arange(n).flip(0) if i else torch.arange(n) for n in lengths])
            rows = (steps >= start) & (steps < start + k1)
            columns = slice(i * 7, (i + 1) * 7)
            own[rows, columns] = dY[rows, columns]
        for total, grad in zip(sums, torch.autograd.grad(Y, args, own), strict=True):
            total += grad
    for ours, defined in zip(found[1:], sums, strict=True):
        assert_close(ours, defined, 1e-4)


@pytest.mark.parametrize(("backend", "cell"), RUNS)
@given(LENGTHS, st.randoms(use_true_random=False))
def test_a_sequence_is_the_same_in_any_batch(backend, cell, lengths, random):
    """To the bit on compiled kernels."""
    run, weights = get_run_layer(backend), make_weights(cell, 7)
    sequences = [torch.randn(n, NI) for n in lengths]
    order = list(range(len(lengths)))
    random.shuffle(order)
    with torch.no_grad():
        Y, _ = run(CELLS[cell], weights, torch.cat(sequences), lengths)
        sizes = [lengths[i] for i in order]
        shuffled, _ = run(CELLS[cell], weights, torch.cat([sequences[i] for i in order]), sizes)
        together, shuffled = Y.split(lengths), shuffled.split(sizes)
        for place, i in enumerate(order):
            alone, _ = run(CELLS[cell], weights, sequences[i], [lengths[i]])
            for other in (shuffled[place], alone):
                if backend == "compiled":
                    assert torch.equal(other, together[i])
                else:
                    assert_close(other, together[i])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("max_tokens", [1, 2, 9, 100])
def test_torch_computes_a_few_tokens_at_a_time(cell, max_tokens, monkeypatch):
    weights, lengths, sizes = make_weights(cell, 7), [30, 0, 4, 29], []
    X = torch.randn(sum(lengths), NI)
    for name in ("_call", "_run_definition"):
        real = getattr(torch_layers, name)

        def spy(cell, X, *args, real=real):
            sizes.append(len(X))
            return real(cell, X, *args)

        monkeypatch.setattr(torch_layers, name, spy)
    with torch.no_grad():
        expected, _ = torch_layers.run_layer(CELLS[cell], weights, X, lengths)
        sizes.clear()
        found, _ = torch_layers.run_layer(CELLS[cell], weights, X, lengths, max_tokens=max_tokens)
    assert_close(found, expected)
    # A time step at least.
    assert max(sizes) <= max(max_tokens, 3)


@pytest.mark.parametrize("cell", COMPILED)
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(cell, threads, monkeypatch):
    monkeypatch.setattr(workers, "MIN_WORK", 1)
    monkeypatch.setattr(workers, "count_threads", lambda: threads)
    check_layer("compiled", cell, 7, [3, 0, 5, 1, 9, 9, 2], True, True, True)


def test_one_function_chooses():
    X = torch.zeros(1, NI)
    for cell in CELLS.values():
        expected = INSTRUCTIONS is not None and cell.kernel is not None
        assert (choose_run_layer(cell, X, X) is not torch_layers.run_layer) == expected
        for other in (X.double(), X.to("meta")):
            assert choose_run_layer(cell, other, other) is torch_layers.run_layer
