import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import typer
from spacy.cli._util import (
    import_code,
    parse_config_overrides,
    setup_gpu,
    show_validation_error,
)
from spacy.util import load_config
from thinc.api import Config, set_gpu_allocator
from wasabi import msg

from ..pretraining.find_model import find_language_model, load_pipeline
from ..pretraining.loop import Pretraining
from ..pretraining.pretrained_config import adopt_settings, find_components
from ..pretraining.processes import Processes
from ..pretraining.progress import Progress
from ..pretraining.settings import LMSettings

SECTION = "lm_pretraining"


def pretrain_cli(
    ctx: typer.Context,
    config_path: Path = typer.Argument(
        ..., help="Path to config file", exists=True, dir_okay=False, allow_dash=False
    ),
    output: Path = typer.Argument(
        ..., help="Directory for checkpoints, log and pipelines", file_okay=False
    ),
    resume: bool = typer.Option(False, "--resume", "-r", help="Go on from the last checkpoint"),
    code_path: Path | None = typer.Option(
        None, "--code", "-c", help="Python file with code to import (registered functions)"
    ),
    use_gpu: int = typer.Option(-1, "--gpu-id", "-g", help="GPU ID or -1 for CPU"),
) -> None:
    """Pretrain a language model on raw text: the component "bilm" or "rnn_lm" of a pipeline. The
    section [lm_pretraining] of the config says on what and how.

    To override settings, add options such as --lm_pretraining.n_rows 32. To train in several
    processes, start this through torchrun: torchrun --nproc-per-node 2 -m spacy rnn pretrain ...
    """
    logging.captureWarnings(True)
    import_code(code_path)
    overrides = parse_config_overrides(ctx.args)
    with show_validation_error(config_path):
        config = load_config(config_path, overrides=overrides, interpolate=False)
    try:
        pretrain(config, output, overrides=overrides, resume=resume, use_gpu=use_gpu)
    except (ValueError, OSError) as err:
        msg.fail("Pretraining stopped", str(err), exits=1)


def pretrain(
    config: Config,
    output: Path,
    *,
    overrides: Mapping[str, Any] = MappingProxyType({}),
    resume: bool = False,
    use_gpu: int = -1,
) -> None:
    """Pretrain a language model.

    config (Config): The config.
    output (Path): The directory for what comes out.
    overrides (Dict[str, Any]): Which settings of the config the command line names, by dotted
        names. Where it goes on with pretrained weights, these may not contradict them.
    resume (bool): Whether to go on from the last checkpoint.
    use_gpu (int): The number of the GPU; -1 is the CPU. Of several processes each takes the one of
        its own number.
    RAISES (ValueError): If something in config, texts or output directory is wrong.
    """
    if use_gpu >= 0:
        use_gpu = int(os.environ.get("LOCAL_RANK", use_gpu))
    allocator = config.get("system", {}).get("gpu_allocator")
    if use_gpu >= 0 and allocator:
        set_gpu_allocator(allocator)
    setup_gpu(use_gpu)
    config = config.interpolate()
    section = config.get(SECTION)
    if not section:
        raise ValueError(f"The config has no section [{SECTION}].")
    settings = LMSettings.from_config(dict(section))
    if settings.weights:
        _adopt_settings(config, settings, overrides)
    nlp = load_pipeline(config)
    component = find_language_model(nlp, settings.component)
    device = torch.device("cpu" if use_gpu < 0 else f"cuda:{use_gpu}")
    processes = Processes(device)
    try:
        progress = Progress(silent=not processes.is_first)
        run = Pretraining(nlp, component.model, settings, output, progress, processes)
        run.run(resume=resume)
    finally:
        processes.close()


def _adopt_settings(config: Config, settings: LMSettings, overrides: Mapping[str, Any]) -> None:
    names = [settings.component] if settings.component else find_components(config)
    # Several models, or none, are an error that comes later.
    if len(names) != 1 or names[0] not in config["components"]:
        return
    changes = adopt_settings(config, names[0], Path(str(settings.weights)), overrides)
    for setting, (before, after) in changes.items():
        msg.info(f"{setting} = {after!r}, as the weights were made with, not {before!r}")
