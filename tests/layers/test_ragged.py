import numpy
from hypothesis import given
from hypothesis import strategies as st
from thinc.api import NumpyOps

from spacy_rnn.layers.ragged import join, split


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_what_was_split_is_joined(lengths):
    X = numpy.arange(sum(lengths) * 3, dtype="f").reshape(-1, 3)
    parts = split(X, lengths)
    assert [len(part) for part in parts] == lengths
    assert numpy.array_equal(join(NumpyOps(), parts, 3), X)
