from pathlib import Path

import typer
from spacy.cli._util import show_validation_error
from spacy.cli.init_config import save_config
from spacy.util import load_config

from ..pretraining.add_bilm import add_bilm
from ._util import show_errors


def add_bilm_cli(
    config_path: Path = typer.Argument(
        ..., help="Training config, such as configs/ner.cfg", exists=True, dir_okay=False
    ),
    output: Path = typer.Argument(
        "-", help="Path to output .cfg file (or - for stdout)", allow_dash=True
    ),
    weights: Path = typer.Option(
        ...,
        "--weights",
        "-w",
        help="Pipeline that `spacy rnn pretrain` saved, or the config for that command",
        exists=True,
    ),
    width: int | None = typer.Option(None, help="Project the mix of layers to this width"),
    dropout: float = typer.Option(0.5, help="Dropout of the mix of layers"),
    alone: bool = typer.Option(False, "--alone", help="Replace the embedding layers"),
) -> None:
    """Add a pretrained language model to a training config: a mix of its layers is concatenated to
    each embedding layer of spacy-rnn. The output file is overwritten.
    """
    with show_validation_error(config_path, hint_fill=False):
        config = load_config(config_path, interpolate=False)
    with show_errors(f"Can't add a language model to {config_path}"):
        config = add_bilm(config, weights, width=width, dropout=dropout, alone=alone)
    save_config(config, output, is_stdout=str(output) == "-")
