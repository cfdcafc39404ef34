"""Arguments of the compiled kernels for linear chains."""

import numpy as np

from ..step_major import Steps
from .transitions import Transitions


def to_arrays(steps: Steps, transitions: Transitions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray, ndarray]): The first arguments of the kernels: where each
    time step starts, and the transitions.
    """
    starts = np.array([0, *(end for _, end in steps)], dtype=np.int64)
    outer, inner = (x.detach().contiguous().numpy() for x in (transitions.outer, transitions.inner))
    return starts, outer, inner
