"""Several processes that train one model, each on its part of every batch."""

import gc
import os
from datetime import timedelta

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
            backend = "nccl" if device.type == "cuda" else "gloo"
            # The first process counts words while the others wait.
            dist.init_process_group(backend, timeout=timedelta(days=7))

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
        own = X.to(self.device).contiguous()
        parts = [torch.empty_like(own) for _ in range(self.n_processes)]
        dist.all_gather(parts, own)
        return [part.to(X.device) for part in parts]

    def share(self, X: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): What the first process has."""
        if self.n_processes == 1:
            return X
        shared = X.to(self.device)
        dist.broadcast(shared, 0)
        return shared.to(X.device)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.n_processes > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the others."""
        if self.n_processes > 1:
            # What was wrapped refers to itself, and must not outlive the group.
            gc.collect()
            dist.destroy_process_group()
