import pytest

from spacy_rnn.cli import info

from .conftest import run


def test_versions_are_printed():
    result = run("info")
    assert result.exit_code == 0, result.output
    assert "spacy-rnn" in result.output and "torch" in result.output
    assert "info" in run("--help").output


@pytest.mark.parametrize("value, todo", [("none", "Unset"), (None, "GCC")])
def test_missing_kernels_are_reported(monkeypatch, value, todo):
    if value:
        monkeypatch.setenv("SPACY_RNN_KERNELS", value)
    else:
        monkeypatch.delenv("SPACY_RNN_KERNELS", raising=False)
    for instructions in ("avx2", None):
        monkeypatch.setattr(info, "INSTRUCTIONS", instructions)
        output = run("info").output
        assert ("No compiled kernels" in output) == (todo in output) == (instructions is None)
