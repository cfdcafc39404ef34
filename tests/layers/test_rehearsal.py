"""The attribute that says whether a model is rehearsing."""

import pytest
from thinc.api import Linear, chain

from spacy_rnn.layers.rehearsal import is_rehearsing, rehearsal


def test_all_layers_know_and_forget_even_after_an_error():
    model, teacher = (chain(Linear(2, 2), Linear(2, 2)) for _ in range(2))
    stored = model.initialize().to_bytes()
    with pytest.raises(ZeroDivisionError), rehearsal(model, teacher, None):
        assert all(is_rehearsing(node) for each in (model, teacher) for node in each.walk())
        raise ZeroDivisionError
    assert not any(is_rehearsing(node) for each in (model, teacher) for node in each.walk())
    assert model.to_bytes() == stored
