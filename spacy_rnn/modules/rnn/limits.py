"""How much of a sequence is computed at a time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much of a sequence is computed at a time.

    max_tokens (int): In prediction with torch, how many tokens a layer computes at a time.
    k1 (Optional[int]): In training, sequences longer than k2 are computed in pieces of this many
        tokens, and the gradient of each piece goes back k2 tokens from its end: truncated
        backpropagation through time, BPTT(k2; k1) of Williams & Peng (1990), "An Efficient
        Gradient-Based Algorithm for On-Line Training of Recurrent Network Trajectories". None
        goes back to the beginning.
    k2 (Optional[int]): A multiple of k1.
    """

    max_tokens: int = 10_000
    k1: int | None = None
    k2: int | None = None
