import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

INSTRUCTIONS: str
HAS_BFLOAT16: bool
LANES: int

class Sequences:
    end: int
    def __init__(self, starts: Ints, lengths: Ints, stride: int = 1) -> None: ...

class Projection:
    units: int
    width: int
    def __init__(
        self,
        n_gates: int,
        nI: int,
        hidden: int,
        input_weights: Floats,
        bias: Floats,
        half: bool = False,
    ) -> None: ...
    def project(self, X: Floats, out: Floats) -> None: ...

class Direction(Projection):
    saved_width: int
    def __init__(
        self,
        n_gates: int,
        nI: int,
        hidden: int,
        input_weights: Floats,
        bias: Floats,
        recurrent_weights: Floats,
        inner_bias: Floats,
        half: bool = False,
    ) -> None: ...
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
        x_column: int = 0,
        state: Floats | None = None,
        residual: bool = False,
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
        state: Floats | None = None,
    ) -> None: ...

def find_best_tags(starts: Ints, outer: Floats, inner: Floats, scores: Floats) -> Ints: ...
def sum_forward(starts: Ints, outer: Doubles, inner: Doubles, sums: Doubles) -> Doubles: ...
def sum_backward(
    starts: Ints, outer: Doubles, inner: Doubles, weights: Doubles, sums: Doubles
) -> None: ...
def find_distinct(X: Floats) -> tuple[Ints, Ints]: ...
