from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_rnn.cli  # noqa: F401  (spaCy loads it through its entry point)


def test_the_command_group_is_there():
    result = CliRunner().invoke(app, ["rnn", "info"])
    assert result.exit_code == 0, result.output
    assert "spacy-rnn" in result.output and "torch" in result.output
    assert "info" in CliRunner().invoke(app, ["rnn", "--help"]).output
