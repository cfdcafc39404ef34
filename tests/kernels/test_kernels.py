import sys

import pytest

from spacy_rnn import kernels


def test_kernels_that_were_not_built_can_not_be_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy_rnn.kernels._kernels", None)
    monkeypatch.setenv("SPACY_RNN_KERNELS", "avx2")
    with pytest.raises(RuntimeError, match=r"avx2.*compiler"):
        kernels._find_instructions()
    monkeypatch.setenv("SPACY_RNN_KERNELS", "none")
    assert kernels._find_instructions() == (None, False, False)
    monkeypatch.delenv("SPACY_RNN_KERNELS")
    assert kernels._find_instructions() == (None, False, False)
