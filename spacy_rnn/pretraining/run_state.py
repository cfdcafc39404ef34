"""The state of a run of pretraining: everything that changes while it trains."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy
import torch

from ..modules.lm.language_model import LanguageModel
from ..modules.rnn.cells import State
from .batches import LMBatcher
from .processes import Processes

Tensors = dict[str, torch.Tensor]


@dataclass
class Position:
    """The progress of a run.

    step (int): The number of updates.
    epoch (int): The number of complete epochs.
    epoch_start (int): The number of texts that were read before this epoch.
    n_words (int): The number of words that were predicted.
    n_logged (int): The part of them that is in the log.
    losses (List[float]): The sum of the losses of the others, for each direction.
    best (Optional[float]): The lowest loss in an evaluation.
    n_worse (int): The number of evaluations after that one.
    is_over (bool): Whether training has ended.
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


@dataclass
class RunState:
    """Everything that changes during a run. Checkpoints also hold the states of the random number
    generators, which are global.

    lm (LanguageModel): The language model.
    optimizer (Optimizer): Its optimizer.
    batcher (LMBatcher): Divides the texts into batches.
    position (Position): The progress.
    states (Optional[List[State]]): The recurrent states of each layer after the last batch, for
        the rows of this process.
    """

    lm: LanguageModel
    optimizer: torch.optim.Optimizer
    batcher: LMBatcher
    position: Position
    states: list[State] | None = None

    def pack(self, processes: Processes) -> tuple[dict[str, Any], Tensors]:
        """Collect the state of all processes.

        processes (Processes): The processes. All have to call this.
        RETURNS (Tuple[Dict[str, Any], Dict[str, Tensor]]): The part for JSON, and the tensors, on
            the CPU.
        """
        tensors = {f"model.{name}": value for name, value in self.lm.state_dict().items()}
        for i, values in self.optimizer.state_dict()["state"].items():
            for name, value in values.items():
                # SGD without momentum stores None.
                if value is not None:
                    tensors[f"optimizer.{i}.{name}"] = torch.as_tensor(value)
        for i, state in enumerate(self.states or []):
            for j, part in enumerate(state):
                tensors[f"state.{i}.{j}"] = torch.cat(processes.gather(part), dim=1)
        for name, generator in _get_generators(processes.device).items():
            for i, part in enumerate(processes.gather(generator)):
                tensors[f"random.{name}.{i}"] = part
        # Safetensors can't store tensors that share memory.
        tensors = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        return {"position": asdict(self.position), "batcher": self.batcher.get_state()}, tensors

    def unpack(self, state: Mapping[str, Any], tensors: Tensors, processes: Processes) -> None:
        """Overwrite the state of this process.

        state, tensors: The results of `pack`.
        processes (Processes): The processes, as many as there were.
        """
        self.lm.load_state_dict(_select("model", tensors))
        moments: dict[int, Tensors] = {}
        for key, value in _select("optimizer", tensors).items():
            i, name = key.split(".", 1)
            moments.setdefault(int(i), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.position = Position(**state["position"])
        self.batcher.set_state(state["batcher"])
        self.states = []
        while parts := _select(f"state.{len(self.states)}", tensors):
            rows = (parts[j].chunk(processes.n_processes, dim=1) for j in sorted(parts))
            own = (part[processes.rank].contiguous().to(processes.device) for part in rows)
            self.states.append(tuple(own))
        rank, generators = f".{processes.rank}", _select("random", tensors)
        _set_generators({k.removesuffix(rank): v for k, v in generators.items()}, processes.device)


def _select(prefix: str, tensors: Tensors) -> Tensors:
    start = f"{prefix}."
    return {k.removeprefix(start): value for k, value in tensors.items() if k.startswith(start)}


def _get_generators(device: torch.device) -> Tensors:
    numbers = numpy.random.get_state(legacy=False)["state"]
    keys = torch.tensor([*numbers["key"].tolist(), numbers["pos"]], dtype=torch.int64)
    states = {"torch": torch.get_rng_state(), "numpy": keys}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_generators(states: Tensors, device: torch.device) -> None:
    torch.set_rng_state(states["torch"])
    *keys, position = states["numpy"].tolist()
    numpy.random.set_state(("MT19937", numpy.asarray(keys, dtype="uint32"), position, 0, 0.0))
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
