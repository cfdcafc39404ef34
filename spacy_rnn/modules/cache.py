"""Which values a tensor has: for what is computed from weights, and kept as long as they stay.

Torch's own counter of changes in place is not enough. An optimizer that counted there would make a
backward pass fail whose forward pass came before the step, and in spaCy that is the order of a
shared `tok2vec` and the components that listen to it, in `nlp.update` with an optimizer.
"""

from collections.abc import Iterable

import torch

Version = tuple[int, int, int]


def mark_changed(tensors: Iterable[torch.Tensor]) -> None:
    """Say that tensors have new values, where they were written to behind torch's back."""
    for tensor in tensors:
        tensor._n_changes = getattr(tensor, "_n_changes", 0) + 1  # type: ignore[attr-defined]


def get_version(tensor: torch.Tensor) -> Version:
    """RETURNS (Tuple[int, int, int]): What is different as soon as the values are."""
    return tensor.data_ptr(), tensor._version, getattr(tensor, "_n_changes", 0)
