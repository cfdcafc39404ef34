import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.modules.lm.feed_forward import FeedForwardLM

LENGTHS = st.lists(st.integers(0, 7), min_size=1, max_size=6)


def make_model(window=3):
    torch.manual_seed(0)
    return FeedForwardLM(4, hidden=6, window=window)


def define(model, words):
    """The output at each of some words, which begin with a boundary."""
    outputs = []
    for t in range(len(words)):
        window = [words[t - k] if t >= k else torch.zeros(4) for k in range(model.window)]
        outputs.append(model.output(model.hidden(torch.cat(window[::-1])).tanh()))
    return torch.stack(outputs)


@given(LENGTHS, st.integers(1, 4))
def test_outputs_are_those_of_the_definition(lengths, window):
    model, X = make_model(window), torch.randn(sum(lengths), 4)
    found = model(X, lengths, with_boundary=True)
    expected = [define(model, torch.cat([model.boundary, part]))[1:] for part in X.split(lengths)]
    expected.append(define(model, model.boundary))
    torch.testing.assert_close(found[:, 1], torch.cat(expected))
    assert torch.equal(found[:-1, 0], X)
    torch.testing.assert_close(model(X, lengths), found[:-1])


@pytest.mark.parametrize("window", [1, 3])
def test_the_state_carries_words_over(window):
    model, X = make_model(window), torch.randn(2, 7, 4)
    (whole,), last = model.run(X.flatten(0, 1), [7, 7])
    outputs, states = [], None
    for part in X.split([1, 4, 2], dim=1):
        (Y,), states = model.run(part.flatten(0, 1), [part.shape[1]] * 2, states)
        outputs.append(Y.view(2, -1, 4))
    torch.testing.assert_close(torch.cat(outputs, dim=1).flatten(0, 1), whole)
    assert torch.equal(states[0][0], last[0][0])
    assert not states[0][0].requires_grad


def test_gradients_are_right():
    model = make_model().double()
    X = torch.randn(6, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda X: model(X, [2, 0, 4], is_train=True), X)
