"""The loss of biaffine scores against its definition, and prediction against the scores."""

from functools import partial

import numpy
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from spacy_rnn import kernels
from spacy_rnn.modules.parser import predict
from spacy_rnn.modules.parser.biaffine import Truth, Widths, compute_loss
from spacy_rnn.modules.parser.predict import predict_trees
from spacy_rnn.modules.parser.sentences import find_starts
from spacy_rnn.modules.parser.trees import find_tree
from spacy_rnn.modules.weights import Weights

WIDTHS = Widths(5, 3)
N_LABELS = 4
LENGTHS = numpy.array([3, 1, 4])
TRUTH = Truth(
    LENGTHS,
    heads=numpy.array([2, 0, -1, 0, 3, 1, 0, 3]),
    labels=numpy.array([1, -1, 0, -1, -1, 3, -1, 2]),
    starts=numpy.array([-1, 0, 0, 1, 1, -1, 0, 0]),
)


def make_arrays(dtype="d", seed=0):
    rng = numpy.random.default_rng(seed)
    X = rng.normal(size=(LENGTHS.sum(), WIDTHS.total)).astype(dtype)
    shapes = WIDTHS.get_shapes(N_LABELS)
    return X, {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def define_scores(X, params):
    """Of each sentence the scores of arcs, and of labels for each dependent and head."""
    for part in X.split(LENGTHS.tolist()):
        dependents, heads, label_dependents, label_heads, _ = part.split([5, 5, 3, 3, 1], dim=1)
        root, label_root = params["root"].split([5, 3])
        mapped = dependents @ params["arc_W"].T + params["arc_b"]
        arcs = mapped @ torch.cat([root[None], heads]).T
        mapped = label_dependents @ params["label_W"].T + params["label_b"]
        heads = torch.cat([label_root[None], label_heads])
        heads = torch.cat([heads, torch.ones(len(heads), 1, dtype=X.dtype)], dim=1)
        mapped = mapped.reshape(len(part), N_LABELS, 4)
        yield arcs, torch.einsum("dlw,hw->dhl", mapped, heads)


def define_loss(X, params):
    loss, first = 0.0, 0
    for arcs, labels in define_scores(X, params):
        for i in range(len(arcs)):
            head, label = TRUTH.heads[first + i], TRUTH.labels[first + i]
            allowed = [j for j in range(len(arcs) + 1) if j != i + 1]
            if head >= 0:
                target = torch.tensor(allowed.index(head))
                loss = loss + cross_entropy(arcs[i, allowed], target)
            if head >= 0 and label >= 0:
                loss = loss + cross_entropy(labels[i, head], torch.tensor(label))
        first += len(arcs)
    known = torch.from_numpy(TRUTH.starts >= 0)
    starts = torch.from_numpy(TRUTH.starts).double()
    return loss + binary_cross_entropy_with_logits(X[known, -1], starts[known], reduction="sum")


def test_loss_and_gradient_are_those_of_the_definition():
    X, params = make_arrays()
    loss, dX, grads = compute_loss(numpy, X, params, WIDTHS, TRUTH)
    leaves = {name: torch.from_numpy(a).requires_grad_() for name, a in {**params, "X": X}.items()}
    expected = define_loss(leaves["X"], leaves)
    expected.backward()
    assert loss == pytest.approx(expected.item())
    for name, gradient in {**grads, "X": dX}.items():
        numpy.testing.assert_allclose(gradient, leaves[name].grad.numpy(), atol=1e-12)


def test_what_is_not_known_has_no_gradient():
    X, params = make_arrays()
    nothing = Truth(LENGTHS, *(numpy.full(len(X), -1) for _ in range(3)))
    loss, dX, grads = compute_loss(numpy, X, params, WIDTHS, nothing)
    assert loss == 0
    assert not dX.any()
    assert not any(gradient.any() for gradient in grads.values())


@pytest.mark.parametrize("at_a_time", [1, 2**21])
@pytest.mark.parametrize("instructions", sorted({str(kernels.INSTRUCTIONS), "None"}))
def test_prediction_is_that_of_the_scores(monkeypatch, at_a_time, instructions):
    if instructions == "None":
        monkeypatch.setattr(kernels, "INSTRUCTIONS", None)
    else:
        monkeypatch.setattr("spacy_rnn.modules.parser.compiled.MAX_MAPPED", at_a_time)
    monkeypatch.setattr(predict, "MAX_SCORES", at_a_time)
    monkeypatch.setattr("spacy_rnn.modules.parser.scores.MAX_MAPPED", at_a_time)
    X, params = make_arrays("f")
    heads, labels, probabilities = predict_trees(X, Weights(params), WIDTHS, LENGTHS)
    tensors = {name: torch.from_numpy(array) for name, array in params.items()}
    expected = [[], []]
    for arcs, label_scores in define_scores(torch.from_numpy(X), tensors):
        tree = find_tree(arcs.numpy())
        expected[0] += tree.tolist()
        expected[1] += label_scores[range(len(tree)), tree].argmax(dim=1).tolist()
    assert heads.tolist() == expected[0]
    assert labels.tolist() == expected[1]
    assert ((probabilities > 0) & (probabilities <= 1)).all()


@pytest.mark.skipif(kernels.INSTRUCTIONS is None, reason="there are no kernels")
@pytest.mark.parametrize("int8", [False, True])
def test_a_sentence_is_parsed_the_same_to_the_bit_in_any_batch(int8):
    X, params = make_arrays("f")
    run = partial(predict_trees, widths=WIDTHS, int8=int8)
    together = run(X, Weights(params), lengths=LENGTHS)
    ends = numpy.cumsum(LENGTHS)
    for end, n in zip(ends, LENGTHS, strict=True):
        rows = slice(end - n, end)
        alone = run(X[rows].copy(), Weights(params), lengths=numpy.array([n]))
        for whole, part in zip(together, alone, strict=True):
            numpy.testing.assert_array_equal(whole[rows], part)


def test_boundaries_that_are_given_are_kept():
    scores = numpy.array([-1.0, 2, 2, -2, -2, 5])
    given = numpy.array([0, 0, -1, 1, 0, 0])
    starts = find_starts(scores, given, 100)
    assert starts.tolist() == [True, True, False, True, False, True]
    assert find_starts(scores[:0], given[:0], 100).tolist() == []


def test_a_long_sentence_is_divided_where_a_boundary_is_most_probable():
    scores = numpy.full(20, -5.0)
    scores[[8, 9, 13]] = -1, -2, -3
    starts = find_starts(scores, numpy.zeros(20, dtype=int), 12)
    assert numpy.flatnonzero(starts).tolist() == [0, 8]
    # It is not where there is known to be none, unless there is no other place.
    given = numpy.zeros(20, dtype=int)
    given[8] = -1
    assert numpy.flatnonzero(find_starts(scores, given, 12)).tolist() == [0, 9]
    starts = find_starts(numpy.zeros(10_000), numpy.full(10_000, -1), 100)
    assert numpy.diff(numpy.flatnonzero(starts), append=10_000).max() <= 100
