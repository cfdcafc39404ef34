"""Pretrain the language model of a config."""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from spacy.cli._util import setup_gpu
from thinc.api import Config, set_gpu_allocator
from wasabi import msg

from .find_model import load_pipeline
from .loop import Pretraining
from .pretrained_config import adopt_settings, find_component
from .processes import Processes
from .progress import Progress
from .settings import LMSettings

SECTION = "lm_pretraining"


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
    output (Path): The directory for checkpoints, log and pipelines.
    overrides (Dict[str, Any]): The settings on the command line, by dotted names. They may not
        contradict pretrained weights.
    resume (bool): Whether to continue from the last checkpoint.
    use_gpu (int): The ID of the GPU. -1 is the CPU. Processes of `torchrun` use one GPU each.
    RAISES (ValueError): If something in config, texts or output directory is wrong.
    """
    if use_gpu >= 0:
        use_gpu = int(os.environ.get("LOCAL_RANK", use_gpu))
    allocator = config.get("system", {}).get("gpu_allocator")
    if use_gpu >= 0 and allocator:
        set_gpu_allocator(allocator)
    setup_gpu(use_gpu)
    config = config.interpolate()
    if not config.get(SECTION):
        raise ValueError(f"The config has no section [{SECTION}].")
    settings = LMSettings.from_config(dict(config[SECTION]))
    if settings.weights:
        name = find_component(config, settings.component)
        changes = adopt_settings(config, name, Path(settings.weights), overrides)
        for setting, (before, after) in changes.items():
            msg.info(f"{setting} = {after!r} to fit the weights, instead of {before!r}")
    nlp = load_pipeline(config)
    component: Any = nlp.get_pipe(find_component(nlp.config, settings.component))
    device = torch.device("cpu" if use_gpu < 0 else f"cuda:{use_gpu}")
    with closing(Processes(device)) as processes:
        progress = Progress(silent=not processes.is_first)
        parts = (nlp, component.model, settings, output, progress, processes)
        Pretraining(*parts, resume=resume).run()
