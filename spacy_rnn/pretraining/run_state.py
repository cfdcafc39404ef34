"""What a checkpoint of pretraining holds."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch

from ..layers.bilm import get_embed, get_output
from ..layers.torch_shim import get_shim
from .checkpoints import Checkpoint, add_prefix, pack_optimizer, take_prefix, unpack_optimizer

if TYPE_CHECKING:
    from .loop import Pretraining

# Settings that have no influence on the weights, and paths, which may be spelt in several ways:
# what is there is compared before.
_FREE = ("n_process", "max_checkpoints", "checkpoint_frequency", "train", "dev", "weights")
_GENERATORS = ("torch", "numpy", "cuda")


@dataclass
class Position:
    """How far a run is.

    step (int): The number of updates.
    epoch (int): The number of epochs that are over.
    epoch_start (int): The number of texts that were read before this epoch began.
    n_words (int): The number of words that were predicted.
    n_logged (int): How many of those are in the log.
    losses (List[float]): The losses of those that are not, added up for each direction.
    best (Optional[float]): The lowest loss in an evaluation.
    n_worse (int): The number of evaluations since.
    is_over (bool): Whether training is over.
    """

    step: int = 0
    epoch: int = 0
    epoch_start: int = 0
    n_words: int = 0
    n_logged: int = 0
    losses: list[float] = field(default_factory=list)
    best: float | None = None
    n_worse: int = 0
    is_over: bool = False


def save_run(run: "Pretraining", directory: Path) -> None:
    """Save a checkpoint. All processes have to call this; the first one writes.

    run (Pretraining): The run.
    directory (Path): Where its checkpoints are.
    """
    processes = run.processes
    tensors = {
        **add_prefix("model", run.lm.state_dict()),
        **add_prefix("optimizer", pack_optimizer(run.optimizer)),
    }
    for i, parts in enumerate(run.states or []):
        gathered = [torch.cat(processes.gather(part), dim=1) for part in parts]
        tensors.update(add_prefix(f"state.{i}", {str(j): x for j, x in enumerate(gathered)}))
    for name, generator in _get_generators(run.device).items():
        generators = {str(i): part for i, part in enumerate(processes.gather(generator))}
        tensors.update(add_prefix(f"random.{name}", generators))
    state = {
        "settings": asdict(run.settings),
        "layers": _get_layers(run),
        "n_processes": processes.n_processes,
        "position": asdict(run.position),
        "batcher": run.batcher.get_state(),
    }
    if processes.is_first:
        keep = run.settings.max_checkpoints
        Checkpoint(state, tensors).save(directory, run.position.step, keep)


def load_run(run: "Pretraining", path: Path) -> None:
    """Go on where a checkpoint is.

    run (Pretraining): The run, initialised.
    path (Path): The checkpoint.
    RAISES (ValueError): If it is damaged, or its run had other settings.
    """
    checkpoint = Checkpoint.load(path)
    state, tensors, processes = checkpoint.state, checkpoint.tensors, run.processes
    stored = {**state["settings"], **state["layers"], "processes": state["n_processes"]}
    wanted = {**asdict(run.settings), **_get_layers(run), "processes": processes.n_processes}
    wanted = json.loads(json.dumps(wanted))
    for name in sorted({*stored, *wanted} - set(_FREE)):
        if stored.get(name) != wanted.get(name):
            raise ValueError(
                f"Can't go on from '{path}': it was made with {name} = {stored.get(name)!r}, but "
                f"now it is {wanted.get(name)!r}."
            )
    run.lm.load_state_dict(take_prefix("model", tensors))
    unpack_optimizer(run.optimizer, take_prefix("optimizer", tensors))
    run.position = Position(**state["position"])
    run.batcher.set_state(state["batcher"])
    run.states = []
    for i in range(len(run.lm.stack.layers)):
        parts = sorted(take_prefix(f"state.{i}", tensors).items())
        own = (part.chunk(processes.n_processes, dim=1)[processes.rank] for _, part in parts)
        run.states.append(tuple(part.contiguous().to(run.device) for part in own))
    _set_generators(
        {
            name: generators[str(processes.rank)]
            for name in _GENERATORS
            if (generators := take_prefix(f"random.{name}", tensors))
        },
        run.device,
    )


def _get_layers(run: "Pretraining") -> dict[str, Any]:
    """What the config says of the model."""
    layers = {"model": run.model, "embed": get_embed(run.model), "output": get_output(run.model)}
    return {
        f"{part}.{name}": value
        for part, layer in layers.items()
        for name, value in get_shim(layer).settings.items()
    }


def _get_generators(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of the generators of random numbers."""
    _, keys, position, *_ = numpy.random.get_state()
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.tensor([*numpy.asarray(keys).tolist(), position], dtype=torch.int64),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_generators(states: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["torch"])
    *keys, position = states["numpy"].tolist()
    numpy.random.set_state(("MT19937", numpy.asarray(keys, dtype="uint32"), position, 0, 0.0))
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
