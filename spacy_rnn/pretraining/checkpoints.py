"""Checkpoints: the state of a run of pretraining on disk."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from .atomic import replace_path
from .processes import Processes
from .run_state import RunState

_PREFIX = "step-"
_TENSORS, _STATE = "tensors.safetensors", "state.json"
# Settings that may change when a run resumes. Texts and weights are compared by content instead,
# as a path can be written in several ways.
_FREE = {"n_process", "max_checkpoints", "checkpoint_frequency", "train", "dev", "weights"}


def save_checkpoint(
    directory: Path, run: RunState, settings: Mapping[str, Any], processes: Processes, keep: int
) -> None:
    """Save a checkpoint and remove the oldest ones. All processes have to call this.

    directory (Path): The directory of the checkpoints.
    run (RunState): The state to save.
    settings (Mapping[str, Any]): The "settings" of the run and its "layers", for JSON.
    processes (Processes): The processes. The first one writes.
    keep (int): The number of checkpoints to keep.
    """
    state, tensors = run.pack(processes)
    if not processes.is_first:
        return
    state = {**settings, "n_processes": processes.n_processes, **state}
    with replace_path(directory / f"{_PREFIX}{run.position.step:09d}") as path:
        path.mkdir()
        safetensors.torch.save_file(tensors, path / _TENSORS)
        # srsly would round numbers.
        (path / _STATE).write_text(json.dumps(state), encoding="utf8")
    for old in find_checkpoints(directory)[:-keep]:
        shutil.rmtree(old)


def load_checkpoint(
    path: Path, run: RunState, settings: Mapping[str, Any], processes: Processes
) -> None:
    """Load a checkpoint.

    path (Path): The checkpoint.
    run (RunState): The state to overwrite.
    settings, processes: As in `save_checkpoint`.
    RAISES (ValueError): If the checkpoint is damaged, or its run had other settings.
    """
    try:
        state = json.loads((path / _STATE).read_text(encoding="utf8"))
        tensors = safetensors.torch.load_file(path / _TENSORS)
        stored = {**state["settings"], **state["layers"], "processes": state["n_processes"]}
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as err:
        raise ValueError(
            f"Can't load the checkpoint '{path}': {err}. Remove it to resume from the one before."
        ) from err
    wanted = json.loads(json.dumps({**settings["settings"], **settings["layers"]}))
    wanted["processes"] = processes.n_processes
    for name in sorted({*stored, *wanted} - _FREE):
        if stored.get(name) != wanted.get(name):
            raise ValueError(
                f"Can't resume from '{path}': it was saved with {name} = {stored.get(name)!r}, "
                f"but now it is {wanted.get(name)!r}."
            )
    run.unpack(state, tensors, processes)


def find_checkpoints(directory: Path) -> list[Path]:
    """RETURNS (List[Path]): The checkpoints in a directory, the oldest first."""
    return sorted(path for path in directory.glob(f"{_PREFIX}*") if path.is_dir())
