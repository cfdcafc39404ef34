import logging
from pathlib import Path

import typer
from spacy.cli._util import import_code, parse_config_overrides, show_validation_error
from spacy.util import load_config

from ..layers.torch_arrays import require_torch
from ._util import GpuOpt, show_errors


def pretrain_cli(
    ctx: typer.Context,
    config_path: Path = typer.Argument(
        ..., help="Path to config file", exists=True, dir_okay=False, allow_dash=False
    ),
    output: Path = typer.Argument(
        ..., help="Directory for checkpoints, log and pipelines", file_okay=False
    ),
    resume: bool = typer.Option(False, "--resume", "-r", help="Continue from the last checkpoint"),
    code_path: Path | None = typer.Option(
        None, "--code", "-c", help="Python file with code to import (registered functions)"
    ),
    use_gpu: GpuOpt = -1,
) -> None:
    """Pretrain a language model on raw text: the component "bilm" or "rnn_lm" of a pipeline. The
    texts and the settings are in the section [lm_pretraining] of the config.

    To override settings, add options such as --lm_pretraining.n_rows 32. To train in several
    processes, use torchrun: torchrun --nproc-per-node 2 -m spacy rnn pretrain ...
    """
    with show_errors("Can't pretrain"):
        require_torch("Pretraining")
    # The other commands start without torch.
    from ..pretraining.pretrain import pretrain

    logging.captureWarnings(True)
    import_code(code_path)
    overrides = parse_config_overrides(ctx.args)
    with show_validation_error(config_path):
        config = load_config(config_path, overrides=overrides, interpolate=False)
    with show_errors("Pretraining stopped"):
        pretrain(config, output, overrides=overrides, resume=resume, use_gpu=use_gpu)
