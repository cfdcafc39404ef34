"""The choice between compiled kernels and torch for the algorithms on linear chains."""

import numpy as np
import torch

from ... import kernels
from ..step_major import Steps
from .transitions import Transitions


def has_kernels(scores: torch.Tensor, dtype: torch.dtype) -> bool:
    """RETURNS (bool): Whether there are kernels for such scores. They compute in one precision."""
    is_known = scores.device.type == "cpu" and scores.dtype is dtype
    return kernels.INSTRUCTIONS is not None and is_known


def to_arrays(steps: Steps, transitions: Transitions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray, ndarray]): The first arguments of the kernels: where each
    time step starts, and the transitions.
    """
    starts = np.array([0, *(end for _, end in steps)], dtype=np.int64)
    outer, inner = (x.detach().contiguous().numpy() for x in (transitions.outer, transitions.inner))
    return starts, outer, inner
