import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.architectures.textcat import POOLINGS
from spacy_rnn.modules.pooling import Pooling, Segments

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any)


def make_pooling(kinds=POOLINGS, **kwargs):
    torch.manual_seed(0)
    pooling = Pooling(4, list(kinds), attention_width=3, **kwargs)
    with torch.no_grad():
        for param in pooling.parameters():
            param.uniform_(-1, 1)
    return pooling


def pool_alone(pooling, x):
    """What each kind of pooling is, by its definition."""
    parts = []
    for kind in pooling.kinds:
        if not len(x):
            heads = pooling.attention[2].out_features if kind == "attention" else 1
            parts.append(torch.zeros(4 * heads))
        elif kind == "last":
            parts.append(torch.cat([x[-1, :2], x[0, 2:]]) if pooling.bidirectional else x[-1])
        elif kind == "attention":
            weights = torch.softmax(pooling.attention(x), dim=0)
            parts.append((weights.T @ x).flatten())
        else:
            parts.append(x.mean(0) if kind == "mean" else x.max(0).values)
    return torch.cat(parts)


@given(LENGTHS, st.booleans(), st.integers(1, 3))
def test_each_sequence_is_pooled_by_itself(lengths, bidirectional, heads):
    pooling = make_pooling(bidirectional=bidirectional, attention_heads=heads)
    X = torch.randn(sum(lengths), 4, requires_grad=True)
    Y = pooling(X, lengths)
    assert Y.shape == (len(lengths), pooling.nO) == (len(lengths), 12 + 4 * heads)
    expected = torch.stack([pool_alone(pooling, x) for x in X.split(lengths)])
    torch.testing.assert_close(Y, expected, atol=1e-6, rtol=1e-5)
    dY = torch.randn_like(Y)
    inputs = [X, *pooling.parameters()]
    ours = torch.autograd.grad(Y, inputs, dY, retain_graph=True)
    theirs = torch.autograd.grad(expected, inputs, dY)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(pooling(X, lengths), Y, atol=1e-6, rtol=1e-5)


def test_gradients_in_double_precision():
    pooling = make_pooling().double()
    X = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda X: pooling(X, [3, 0, 1, 5]), (X,))


def test_the_first_of_equal_maxima_gets_the_gradient():
    pooling = make_pooling(["max"])
    X = torch.zeros(5, 4, requires_grad=True)
    pooling(X, [2, 0, 3]).sum().backward()
    assert X.grad[:, 0].tolist() == [1, 0, 1, 0, 0]


def test_attention_adds_up_to_one_and_stands_large_scores():
    pooling = make_pooling(["attention"], attention_heads=2)
    X = 1e4 * torch.randn(6, 4)
    with torch.no_grad():
        pooling.attention[2].weight *= 1e4
    weights = pooling.attend(X, Segments([4, 0, 2], X.device))
    sums = torch.stack([part.sum(0) for part in weights.split([4, 0, 2])])
    torch.testing.assert_close(sums, torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]))


def test_a_new_attention_counts_all_tokens_the_same():
    X = torch.randn(4, 4)
    weights = Pooling(4, ["attention"]).attend(X, Segments([4], X.device))
    torch.testing.assert_close(weights, torch.full((4, 1), 0.25))


@pytest.mark.parametrize("kinds", [["last"], ["max", "mean"]])
def test_kinds_are_side_by_side_in_their_order(kinds):
    X = torch.randn(5, 4)
    parts = [make_pooling([kind])(X, [2, 3]) for kind in kinds]
    torch.testing.assert_close(make_pooling(kinds)(X, [2, 3]), torch.cat(parts, dim=1))
