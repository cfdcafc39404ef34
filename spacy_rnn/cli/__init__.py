"""The command group `spacy rnn`."""

import typer
from spacy.cli._util import app as spacy_app

from . import info

app = typer.Typer(name="rnn", help="Recurrent networks (spacy-rnn).", no_args_is_help=True)
app.callback()(lambda: None)
app.command("info")(info.info_cli)
spacy_app.add_typer(app)
