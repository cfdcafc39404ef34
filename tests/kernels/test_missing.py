import warnings

import pytest

from spacy_rnn.kernels import missing


@pytest.mark.parametrize(
    "found, variable, n_warnings", [(None, "", 1), (None, "none", 0), (True, "", 0)]
)
def test_missing_kernels_are_named_once(monkeypatch, found, variable, n_warnings):
    monkeypatch.setattr(missing, "find_spec", lambda name: found)
    monkeypatch.setenv("SPACY_RNN_KERNELS", variable)
    missing.warn_if_missing.cache_clear()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        for _ in range(2):
            missing.warn_if_missing()
    missing.warn_if_missing.cache_clear()
    assert ["spacy rnn info" in str(each.message) for each in shown] == [True] * n_warnings
