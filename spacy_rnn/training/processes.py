"""Several processes that train one model, each on its part of every batch."""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Processes:
    """The processes that `torchrun` started, or this one alone.

    device (torch.device): Where this process computes.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.n_processes = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.n_processes > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

    @property
    def is_first(self) -> bool:
        """RETURNS (bool): Whether this process is the one that writes."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """RETURNS (nn.Module): The module, which averages gradients over all processes."""
        if self.n_processes == 1:
            return module
        # A cluster of rare words may be needed by one process only.
        return DistributedDataParallel(module, find_unused_parameters=True)

    def add(self, X: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): The sum over all processes."""
        if self.n_processes > 1:
            dist.all_reduce(X)
        return X

    def gather(self, X: torch.Tensor) -> list[torch.Tensor]:
        """RETURNS (List[Tensor]): What all processes have, in their order."""
        if self.n_processes == 1:
            return [X]
        parts = [torch.empty_like(X) for _ in range(self.n_processes)]
        dist.all_gather(parts, X.contiguous())
        return parts

    def wait(self) -> None:
        """Wait for all processes."""
        if self.n_processes > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the others."""
        if self.n_processes > 1:
            dist.destroy_process_group()
