"""Checkpoints of pretraining: everything that a run needs to go on as if it had not stopped."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from .atomic import replace_path

_PREFIX = "step-"
_TENSORS, _STATE = "tensors.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """What is stored.

    state (Dict[str, Any]): What JSON can hold.
    tensors (Dict[str, Tensor]): The rest, on the CPU.
    """

    state: dict[str, Any]
    tensors: dict[str, torch.Tensor]

    def save(self, directory: Path, step: int, keep: int) -> None:
        """Save the checkpoint, then remove the oldest ones.

        directory (Path): Where checkpoints are.
        step (int): The number of updates so far.
        keep (int): How many to keep.
        """
        with replace_path(directory / f"{_PREFIX}{step:09d}") as path:
            path.mkdir()
            safetensors.torch.save_file(self.tensors, path / _TENSORS)
            # Not by srsly, which rounds numbers.
            (path / _STATE).write_text(json.dumps(self.state), encoding="utf8")
        for old in find_checkpoints(directory)[:-keep]:
            shutil.rmtree(old)

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Load a checkpoint.

        path (Path): One of those that `find_checkpoints` finds.
        RETURNS (Checkpoint): The checkpoint.
        RAISES (ValueError): If it is damaged.
        """
        try:
            state = json.loads((path / _STATE).read_text(encoding="utf8"))
            return cls(dict(state), safetensors.torch.load_file(path / _TENSORS))
        except (OSError, ValueError, TypeError, SafetensorError) as err:
            raise ValueError(
                f"Can't load the checkpoint '{path}': {err}. Remove it, and the run goes on from "
                "the one before."
            ) from err


def find_checkpoints(directory: Path) -> list[Path]:
    """RETURNS (List[Path]): The checkpoints in a directory, the oldest first."""
    return sorted(path for path in directory.glob(f"{_PREFIX}*") if path.is_dir())


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """RETURNS (Dict[str, Tensor]): What an optimizer remembers of each parameter."""
    return {
        f"{number}.{name}": value.detach().cpu() if torch.is_tensor(value) else torch.tensor(value)
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if value is not None
    }


def unpack_optimizer(optimizer: torch.optim.Optimizer, packed: Mapping[str, torch.Tensor]) -> None:
    """Give an optimizer back what `pack_optimizer` returned."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in packed.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def add_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """RETURNS (Dict[str, Tensor]): The tensors, each with a prefix to its name, and in memory of
    its own, which the format needs.
    """
    return {f"{prefix}.{name}": value.cpu().clone() for name, value in tensors.items()}


def take_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """RETURNS (Dict[str, Tensor]): The tensors that `add_prefix` gave that prefix, without it."""
    start = f"{prefix}."
    return {k[len(start) :]: value for k, value in tensors.items() if k.startswith(start)}
