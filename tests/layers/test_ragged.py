import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thinc.api import NumpyOps

from spacy_rnn.layers.ragged import join, split

OPS = NumpyOps()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(0, 3), st.integers(0, 3))
def test_what_was_split_is_joined_without_copying(lengths, before, after):
    X = numpy.arange((before + sum(lengths) + after) * 3, dtype="f").reshape(-1, 3)
    parts = split(X, [before, *lengths, after])[1:-1]
    joined = join(OPS, parts, 3)
    assert numpy.array_equal(joined, X[before : before + sum(lengths)])
    if sum(lengths):
        assert numpy.shares_memory(joined, X)


def test_a_single_row_or_column_may_have_any_stride():
    X = numpy.arange(12, dtype="f").reshape(4, 3)
    assert numpy.array_equal(join(OPS, [X[::2][0:1], X[1:2], X[2:4]]), X)
    column = numpy.arange(4, dtype="f").reshape(4, 1)
    joined = join(OPS, [part[:, ::-1] for part in (column[0:2], column[2:4])])
    assert numpy.array_equal(joined, column)
    assert all(stride > 0 for stride in joined.strides)


@pytest.mark.parametrize(
    "parts",
    [
        lambda X: [X[2:4], X[0:2]],
        lambda X: [X[0:2], X[3:5]],
        lambda X: [X[0:2], X[0:2]],
        lambda X: [X[0:2], X[2:4].copy()],
        lambda X: [X[0:2, :2], X[2:4, :2]],
        lambda X: [X[0:4:2], X[4:6]],
        lambda X: [X.T[0:2], X.T[2:3]],
        lambda X: [X[0:2][::-1], X[2:4]],
        lambda X: [X[0:1], X[1:2], numpy.ones((1, 3), dtype="f")],
        lambda X: [numpy.frombuffer(X.tobytes(), "f").reshape(6, 3)[i : i + 2] for i in (0, 2)],
    ],
)
def test_what_does_not_follow_is_copied(parts):
    X = numpy.arange(18, dtype="f").reshape(6, 3)
    sequences = parts(X)
    joined = join(OPS, sequences)
    assert numpy.array_equal(joined, numpy.concatenate(sequences))
    joined[:] = -1
    assert numpy.array_equal(X, numpy.arange(18, dtype="f").reshape(6, 3))
