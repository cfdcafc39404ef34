import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thinc.api import NumpyOps

from spacy_rnn.layers.ragged import join, split


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_what_was_split_is_joined_without_copying(lengths):
    X = numpy.zeros((sum(lengths), 3), dtype="f")
    X[:] = numpy.arange(X.size).reshape(X.shape)
    parts = split(X, lengths)
    assert [len(part) for part in parts] == lengths
    joined = join(NumpyOps(), parts, 3)
    assert numpy.array_equal(joined, X)
    assert not len(X) or numpy.shares_memory(joined, X)


@pytest.mark.parametrize(
    "cut",
    [
        lambda X: [X[3:6], X[0:3]],
        lambda X: [X[0:2], X[3:6]],
        lambda X: [X[0:2], X[0:2], X[4:6]],
        lambda X: [X[0:2], X[2:6].copy()],
        lambda X: [X[0:3, :2], X[3:6, :2]],
        lambda X: [X[0:4:2], X[2:6]],
        lambda X: [X[0:2][::-1], X[2:6]],
        lambda X: [X.T[0:2], X.T[2:3]],
        lambda X: [X.view("i")[0:2], X.view("i")[2:6]],
        lambda X: [numpy.frombuffer(X.tobytes(), "f").reshape(6, 3)[i : i + 3] for i in (0, 3)],
    ],
)
def test_other_sequences_are_copied(cut):
    X = numpy.zeros((6, 3), dtype="f")
    X[:] = numpy.arange(X.size).reshape(X.shape)
    sequences = cut(X)
    expected = numpy.concatenate(sequences)
    joined = join(NumpyOps(), sequences)
    assert joined.dtype == expected.dtype
    assert numpy.array_equal(joined, expected)
    joined[:] = -1
    assert X.min() == 0
