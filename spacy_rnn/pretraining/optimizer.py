"""Torch's optimizers and learning rate schedules, by the names in a config."""

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

    settings (LMSettings): The settings.
    step (int): The number of the update, from 0.
    n_steps (Optional[int]): The update at which the rate reaches 0. None if it is unknown.
    RETURNS (float): The rate.
    """
    rate = settings.learn_rate
    if step < settings.warmup_steps:
        return rate * (step + 1) / settings.warmup_steps
    if settings.decay == "none" or not n_steps:
        return rate
    done = min((step - settings.warmup_steps) / max(n_steps - settings.warmup_steps, 1), 1.0)
    return rate * (1 - done if settings.decay == "linear" else (1 + math.cos(math.pi * done)) / 2)
