"""Trees and their probabilities, against all trees there are."""

import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.kernels import INSTRUCTIONS
from spacy_rnn.modules.parser import trees
from spacy_rnn.modules.parser.probabilities import find_probabilities
from spacy_rnn.modules.parser.trees import find_tree

if INSTRUCTIONS is None:
    find_trees = trees.find_trees
else:
    from spacy_rnn.kernels._kernels import find_trees

needs_kernels = pytest.mark.skipif(INSTRUCTIONS is None, reason="there are no kernels")


def is_tree(heads):
    """Whether one token is below the root, and each token's heads lead to it."""
    if sum(head == 0 for head in heads) != 1:
        return False
    for token in range(1, len(heads) + 1):
        seen = set()
        while token:
            if token in seen:
                return False
            seen.add(token)
            token = heads[token - 1]
    return True


def make_all_trees(n):
    choices = [[head for head in range(n + 1) if head != i + 1] for i in range(n)]
    return numpy.array([heads for heads in itertools.product(*choices) if is_tree(heads)])


TREES = {n: make_all_trees(n) for n in range(1, 7)}


def add_up(scores, trees):
    return scores.astype("d")[numpy.arange(len(scores)), trees].sum(axis=-1)


def make_scores(n, seed, scale=3):
    rng = numpy.random.default_rng(seed)
    return (scale * rng.normal(size=(n, n + 1))).astype("f")


@pytest.mark.parametrize("n, seed", list(itertools.product(TREES, range(20))))
def test_the_best_tree_is_found(n, seed):
    for scale in (1, 30):
        scores = make_scores(n, seed, scale)
        best = add_up(scores, TREES[n]).max()
        for heads in (find_trees(scores.ravel(), numpy.array([n])), find_tree(scores)):
            assert is_tree(heads)
            assert add_up(scores, heads) == pytest.approx(best)


def test_an_arc_that_is_impossible_is_avoided():
    scores = make_scores(5, 0)
    scores[:, [0, 2]] = -numpy.inf
    scores[3, 0] = -50
    scores[1, 4] = -90
    for heads in (find_trees(scores.ravel(), numpy.array([5])), find_tree(scores)):
        assert heads[3] == 0
        assert 2 not in heads
        assert is_tree(heads)


SCORES = st.sampled_from([0.0, 1.0, -1.0, 3e38, -3e38, numpy.inf, -numpy.inf, numpy.nan])


@given(st.integers(1, 30), st.lists(SCORES, min_size=1, max_size=40), st.integers(0, 99))
def test_whatever_the_scores_are_trees_come_out(n, values, seed):
    rng = numpy.random.default_rng(seed)
    scores = rng.choice(numpy.array(values, dtype="f"), size=(n, n + 1))
    heads = find_trees(scores.ravel(), numpy.array([n]))
    assert is_tree(heads)
    assert is_tree(find_tree(scores))
    found = find_probabilities(scores.ravel(), numpy.array([n]), heads)
    assert ((found >= 0) & (found <= 1)).all()


@needs_kernels
@given(st.lists(st.integers(0, 12), max_size=8), st.integers(0, 99))
def test_both_forms_find_the_same_trees(lengths, seed):
    parts = [make_scores(n, seed + i) for i, n in enumerate(lengths)]
    flat = numpy.concatenate([numpy.zeros(0, "f"), *(part.ravel() for part in parts)])
    heads = find_trees(flat, numpy.array(lengths, dtype="int64"))
    expected = [find_tree(part) for part in parts]
    assert numpy.array_equal(heads, numpy.concatenate([numpy.zeros(0, int), *expected]))


def test_a_long_cycle():
    n = 300
    scores = make_scores(n, 0, 0.1)
    scores[numpy.arange(n), (numpy.arange(n) + 1) % n + 1] += 10
    heads = find_trees(scores.ravel(), numpy.array([n]))
    assert is_tree(heads)
    assert add_up(scores, heads) == pytest.approx(add_up(scores, find_tree(scores)))


@pytest.mark.parametrize("n", range(1, 6))
def test_probabilities_are_sums_over_all_trees(n):
    for seed in range(3):
        scores = make_scores(n, seed)
        weights = numpy.exp(add_up(scores, TREES[n]))
        weights /= weights.sum()
        for heads in TREES[n][:: max(len(TREES[n]) // 10, 1)]:
            expected = [weights[TREES[n][:, i] == head].sum() for i, head in enumerate(heads)]
            found = find_probabilities(scores.ravel(), numpy.array([n]), heads)
            numpy.testing.assert_allclose(found, expected, atol=1e-6)


def test_probabilities_of_tokens_that_prefer_each_other():
    # Without care the matrix can't be inverted.
    scores = numpy.full((3, 4), -1000, dtype="f")
    scores[[0, 1, 2], [2, 3, 1]] = 0
    for heads in TREES[3]:
        found = find_probabilities(scores.ravel(), numpy.array([3]), heads)
        assert numpy.isfinite(found).all()
