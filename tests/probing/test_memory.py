"""Gradients over distance against the Jacobian itself."""

import numpy
import pytest
import torch

from spacy_rnn.layers.torch_shim import get_shim
from spacy_rnn.modules.networks import ENCODER
from spacy_rnn.modules.rnn import jacobian
from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.modules.rnn.encoder_stack import EncoderStack
from spacy_rnn.modules.rnn.lm_stack import LMStack
from spacy_rnn.modules.rnn.trace import trace_encoder
from spacy_rnn.probing.encoders import find_encoder
from spacy_rnn.probing.memory import compare_memory, get_gradient_norms, name_pipelines, tabulate
from spacy_rnn.probing.texts import cut_windows

from .test_dynamics import make_tagger

UNITS = 5


def define(cell, weights, X, start, kind=0):
    """The derivative of the last hidden state by that at `start`, with its cell state constant. Or
    the same of cell states, through hidden states too.
    """
    weight_ih, weight_hh, bias_ih, bias_hh, *extra = weights

    def run(state, tokens):
        for token in tokens:
            x = (token @ weight_ih.T + bias_ih)[None]
            u = state[0] @ weight_hh.T + bias_hh
            state = CELLS[cell].step(x, u, state, *extra)
        return state

    state = tuple(torch.zeros(1, UNITS) for _ in range(CELLS[cell].n_states))
    if not kind:
        h, *rest = run(state, X[: start + 1])
        found = torch.autograd.functional.jacobian(
            lambda h: run((h, *rest), X[start + 1 :])[0], h.detach()
        )
        return found[0, :, 0]
    before = run(state, X[:start])

    # The cell state changes in the middle of step `start`: only a peephole's output gate sees it.
    _, c = run(before, X[start : start + 1])
    x = (X[start] @ weight_ih.T + bias_ih)[None]
    u = before[0] @ weight_hh.T + bias_hh
    gates = CELLS[cell].step_with_gates(x, u, before, *extra)[1]

    def go_on(c):
        o = gates["output"]
        if extra:
            o = ((x + u).chunk(4, dim=1)[3] + extra[0][2] * c).sigmoid()
        return run((o * c.tanh(), c), X[start + 1 :])[1]

    found = torch.autograd.functional.jacobian(go_on, c.detach())
    return found[0, :, 0]


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_norms_are_those_of_the_jacobian(cell, monkeypatch):
    torch.manual_seed(0)
    stack = EncoderStack(4, 2 * UNITS, depth=2, cell=cell)
    X = torch.randn(7, 4)
    # Unit vectors find the norm exactly.
    n = UNITS
    monkeypatch.setattr(jacobian, "_draw", lambda *_: torch.eye(n) * n**0.5)
    found = jacobian.measure_norms(stack, X, False, n, torch.Generator())
    assert found.shape == (2, 2, 7)
    lower = trace_encoder(stack, [7]).run(X)[0][1].detach()
    for i, inputs in enumerate((X, lower)):
        for k, weights in enumerate(stack.get_weights()[i]):
            tokens = inputs.flip(0) if k else inputs
            weights = [weight.detach() for weight in weights]
            for distance in range(7):
                J = define(cell, weights, tokens, 6 - distance)
                expected = J.double().norm() / n**0.5
                assert found[i, k, distance].item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if cell.n_states > 1])
def test_norms_of_cell_states_are_those_of_the_jacobian(cell, monkeypatch):
    torch.manual_seed(0)
    stack = EncoderStack(4, UNITS, cell=cell, bidirectional=False)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    X = torch.randn(6, 4)
    monkeypatch.setattr(jacobian, "_draw", lambda *_: torch.eye(UNITS) * UNITS**0.5)
    found = jacobian.measure_norms(stack, X, False, UNITS, torch.Generator(), 1)[0, 0]
    weights = [weight.detach() for weight in stack.get_weights()[0][0]]
    expected = [define(cell, weights, X, 5 - k, kind=1).norm() / UNITS**0.5 for k in range(6)]
    numpy.testing.assert_allclose(found, expected, rtol=1e-4)


def test_random_vectors_estimate_the_norm():
    torch.manual_seed(0)
    stack = EncoderStack(4, 2 * UNITS, cell="gru")
    X, generator = torch.randn(5, 4), torch.Generator().manual_seed(0)
    found = jacobian.measure_norms(stack, X, False, 4000, generator)[0, 0]
    weights = [weight.detach() for weight in stack.get_weights()[0][0]]
    expected = [define("gru", weights, X, 4 - k).norm() / UNITS**0.5 for k in range(5)]
    numpy.testing.assert_allclose(found, expected, rtol=0.05)


def test_directions_of_a_language_model_are_measured():
    torch.manual_seed(0)
    stack = LMStack(4, hidden=6, cell="elman")
    found = jacobian.measure_norms(stack, torch.randn(5, 4), True, 8, torch.Generator())
    assert found.shape == (2, 2, 5)
    numpy.testing.assert_allclose(found[..., 0], 1.0)


def test_untrained_models_are_shown_beside():
    nlp = make_tagger("irnn")
    module = get_shim(find_encoder(nlp, "rnn_tagger", ENCODER)).require_module()
    before = [parameter.clone() for parameter in module.parameters()]
    docs = cut_windows(nlp, [nlp.make_doc("the cat sat on the mat " * 4)], 6, 3)
    state = torch.get_rng_state()
    lines = compare_memory(nlp, docs, "rnn_tagger", untrained=True)
    assert torch.equal(state, torch.get_rng_state())
    assert next(iter(lines)) == "layer 1 forward" and len(lines) == 8
    # New recurrent weights are the identity, and rectified units are on or off.
    untrained = lines["layer 1 backward, untrained"]
    assert untrained[0] == 1.0 and (untrained <= 1.0 + 1e-6).all()
    for parameter, values in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, values) and parameter.grad is None
    again = get_gradient_norms(nlp, docs, "rnn_tagger", seed=1)
    assert again.shape == (3, 2, 2, 6)
    assert [row[0] for row in tabulate(lines)] == ["Distance", "0", "1", "2", "5"]


def test_texts_that_are_too_short_are_refused():
    nlp = make_tagger("elman")
    with pytest.raises(ValueError, match="have 2 words, but 6 are needed"):
        cut_windows(nlp, [nlp.make_doc("the cat")], 6, 3)
    with pytest.raises(ValueError, match="'rnn_tagger' have no cell state"):
        get_gradient_norms(nlp, [nlp.make_doc("a")], "rnn_tagger", state="cell")
    with pytest.raises(ValueError, match="state = 'gate'"):
        get_gradient_norms(nlp, [nlp.make_doc("a")], "rnn_tagger", state="gate")
    with pytest.raises(ValueError, match=r"have \[1, 2\] tokens"):
        get_gradient_norms(nlp, [nlp.make_doc("a"), nlp.make_doc("a b")], "rnn_tagger")


def test_pipelines_have_short_names():
    assert name_pipelines(["lm/model-best"]) == ["model-best"]
    assert name_pipelines(["a/lstm/model-best", "gru/model-best"]) == ["lstm", "gru"]
    assert name_pipelines(["x/best", "x/last"]) == ["best", "last"]
    assert name_pipelines(["a/b", "b", "c/b"]) == ["a/b", "b", "c/b"]
