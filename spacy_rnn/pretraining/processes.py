"""Data-parallel training in several processes."""

import gc
import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Processes:
    """The processes that `torchrun` started, or this process alone. They share a file system.

    device (torch.device): The device of this process.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.n_processes = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.n_processes > 1:
            backend = "nccl" if device.type == "cuda" else "gloo"
            # The others wait while the first process counts words.
            dist.init_process_group(backend, timeout=timedelta(days=7))

    @property
    def is_first(self) -> bool:
        """RETURNS (bool): Whether this is the process that writes files."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """RETURNS (nn.Module): The module, with gradients averaged over all processes."""
        if self.n_processes == 1:
            return module
        # One process may need a cluster of rare words that the others don't.
        return DistributedDataParallel(module, find_unused_parameters=True)

    def add(self, X: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): The sum over all processes."""
        if self.n_processes > 1:
            dist.all_reduce(X)
        return X

    def gather(self, X: torch.Tensor) -> list[torch.Tensor]:
        """RETURNS (List[Tensor]): The tensors of all processes, in their order."""
        if self.n_processes == 1:
            return [X]
        own = X.to(self.device).contiguous()
        parts = [torch.empty_like(own) for _ in range(self.n_processes)]
        dist.all_gather(parts, own)
        return parts

    def wait(self) -> None:
        """Wait for all processes."""
        if self.n_processes > 1:
            dist.barrier()

    def close(self) -> None:
        """End the process group."""
        if self.n_processes > 1:
            # Wrapped modules are in reference cycles, and must not outlive the group.
            gc.collect()
            dist.destroy_process_group()
