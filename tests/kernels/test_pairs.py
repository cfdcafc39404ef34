"""Scores of arcs and labels, on numpy arrays. See `modules/parser` for what they are for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.kernels import INSTRUCTIONS

if INSTRUCTIONS is None:
    pytest.skip("the kernels were not built, or are turned off", allow_module_level=True)

from spacy_rnn.kernels._kernels import find_trees, mix_rows, score_arcs, score_labels


def make(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("f")


@given(st.lists(st.integers(0, 6), max_size=5), st.integers(1, 90))
def test_arcs_are_products_of_rows(lengths, width):
    n = sum(lengths)
    mapped, table, root = make(n, width), make(n, width + 5, seed=1), make(width, seed=2)
    heads = table[:, 3 : 3 + width]
    scores = score_arcs(mapped, heads, root, np.array(lengths, dtype="int64"))
    expected, first = [np.zeros(0)], 0
    for length in lengths:
        rows = slice(first, first + length)
        expected.append((mapped[rows] @ np.concatenate([root[None], heads[rows]]).T).ravel())
        first += length
    np.testing.assert_allclose(scores, np.concatenate(expected), rtol=1e-4, atol=1e-4)
    assert len(find_trees(scores, np.array(lengths, dtype="int64"))) == n


@given(st.integers(0, 6), st.integers(1, 9), st.integers(1, 70))
def test_labels_are_products_of_rows(n, n_labels, width):
    mapped, heads = make(n, n_labels * width + 7), make(4, width, seed=1)
    rows = np.arange(n) % 4
    scores = score_labels(mapped, heads, rows, n_labels)
    parts = mapped[:, : n_labels * width].reshape(n, n_labels, width)
    expected = np.einsum("nlw,nw->nl", parts, heads[rows])
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 5), st.integers(0, 40), st.integers(1, 70))
def test_rows_are_mixed(n, length, width):
    weights, rows = make(n, length), make(n, length, width, seed=1)
    sums = mix_rows(weights, rows)
    np.testing.assert_allclose(sums, np.einsum("nl,nlw->nw", weights, rows), rtol=1e-4, atol=1e-4)
    padded = mix_rows(np.pad(weights, ((0, 0), (0, 9))), np.pad(rows, ((0, 0), (0, 9), (0, 0))))
    assert np.array_equal(sums, padded)


def test_wrong_arrays_are_refused():
    lengths = np.array([2, 1])
    mapped, heads, root = make(3, 4), make(3, 4), make(4)
    for wrong in (
        (mapped[:2], heads, root, lengths),
        (mapped, heads[:2], root, lengths),
        (mapped, heads, root[:3], lengths),
        (mapped[:, :3].copy(), heads, root, lengths),
        (mapped, heads.T.copy().T, root, lengths),
        (mapped, heads, root, np.array([4, -1])),
        (mapped.astype("d"), heads, root, lengths),
    ):
        with pytest.raises(ValueError, match=r"states|width|adjacent|tokens|dtype"):
            score_arcs(*wrong)
    with pytest.raises(ValueError, match="expected"):
        mix_rows(make(2, 3), make(2, 4, 5))
    with pytest.raises(ValueError, match="5 labels"):
        score_labels(make(1, 16), heads, np.array([0]), 5)
    for row in (-1, 3):
        with pytest.raises(IndexError, match="among the 3"):
            score_labels(make(1, 16), heads, np.array([row]), 4)
    for lengths, n_scores in (([2], 5), ([-1], 0), ([1, 2], 6)):
        with pytest.raises(ValueError, match=r"scores|tokens"):
            find_trees(make(n_scores), np.array(lengths))
