import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

INSTRUCTIONS: str
LANES: int

class Sequences:
    end: int
    def __init__(self, starts: Ints, lengths: Ints) -> None: ...

class Direction:
    units: int
    width: int
    def __init__(
        self,
        n_gates: int,
        hidden: int,
        input_weights: Floats,
        bias: Floats,
        recurrent_weights: Floats,
        inner_bias: Floats,
    ) -> None: ...
    def project(self, X: Floats, out: Floats) -> None: ...
    def forward(
        self,
        sequences: Sequences,
        reverse: bool,
        Y: Floats,
        column: int,
        X: Floats | None = None,
        gates: Floats | None = None,
        index: Ints | None = None,
        saved: Floats | None = None,
        cells: Floats | None = None,
    ) -> None: ...
    def backward(
        self,
        sequences: Sequences,
        reverse: bool,
        dY: Floats,
        column: int,
        saved: Floats,
        cells: Floats,
        weights: Floats,
        d_gates: Floats,
    ) -> None: ...

def find_distinct(X: Floats) -> tuple[Ints, Ints]: ...
