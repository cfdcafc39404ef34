import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

Weights = NDArray[np.float32] | NDArray[np.uint32]

INSTRUCTIONS: str
HAS_BFLOAT16: bool
PREFERS_BFLOAT16: bool
LANES: int
CELLS: dict[str, int]

class Sequences:
    end: int
    def __init__(self, starts: Ints, lengths: Ints) -> None: ...

class Layer:
    cell: str
    nI: int
    hidden: int
    units: int
    width: int
    saved_width: int
    grads_width: int
    def __init__(
        self,
        cell: str,
        nI: int,
        hidden: int,
        input_weights: Weights,
        bias: Floats,
        recurrent_weights: Weights | None = None,
        extra: Floats | None = None,
        bf16: bool = False,
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
        weights: Weights,
        d_gates: Floats,
        state: Floats | None = None,
    ) -> None: ...

def pair_bf16(rows: Floats) -> NDArray[np.uint32]: ...
def find_best_tags(starts: Ints, outer: Floats, inner: Floats, scores: Floats) -> Ints: ...
def sum_forward(starts: Ints, outer: Doubles, inner: Doubles, sums: Doubles) -> Doubles: ...
def sum_backward(
    starts: Ints, outer: Doubles, inner: Doubles, weights: Doubles, sums: Doubles
) -> None: ...
def find_distinct(X: Floats) -> tuple[Ints, Ints]: ...
