"""Torch's optimizers and schedules, by the names that a config uses."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .settings import LMSettings


def make_optimizer(params: Iterable[nn.Parameter], settings: LMSettings) -> torch.optim.Optimizer:
    """RETURNS (Optimizer): The optimizer that the settings name."""
    params = [param for param in params if param.requires_grad]
    options: dict[str, Any] = {"lr": settings.learn_rate, "weight_decay": settings.L2}
    if settings.optimizer == "adam":
        return torch.optim.AdamW(params, fused=True, **options)
    if settings.optimizer == "rmsprop":
        return torch.optim.RMSprop(params, **options)
    return torch.optim.SGD(params, **options)


def get_rate(settings: LMSettings, step: int, n_steps: int | None) -> float:
    """Get the learning rate of an update.

    settings (LMSettings): What to do.
    step (int): The number of the update, from 0.
    n_steps (Optional[int]): When the rate has fallen to 0, if that is known.
    RETURNS (float): The rate.
    """
    rate = settings.learn_rate
    if step < settings.warmup_steps:
        return rate * (step + 1) / settings.warmup_steps
    if settings.decay == "none" or not n_steps:
        return rate
    done = (step - settings.warmup_steps) / max(n_steps - settings.warmup_steps, 1)
    done = min(done, 1.0)
    if settings.decay == "linear":
        return rate * (1 - done)
    return rate * (1 + math.cos(math.pi * done)) / 2
