"""The parameters of a network, for prediction on arrays."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from .cache import cached

T = TypeVar("T")


class Weights:
    """The parameters of a network as numpy arrays, which share the memory of torch's parameters
    where there are some.

    values (Mapping[str, ndarray / Tensor]): The parameters by name, on the CPU.
    """

    def __init__(self, values: Mapping[str, Any]):
        self._values = dict(values)
        self.tensors = [v for v in self._values.values() if not isinstance(v, np.ndarray)]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._values:
            raise ValueError(f"The weights have no tensor {name!r}: are they of another version?")
        value = self._values[name]
        array: np.ndarray = value if isinstance(value, np.ndarray) else value.detach().numpy()
        return array

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def to_dict(self) -> dict[str, np.ndarray]:
        """RETURNS (Dict[str, ndarray]): The parameters by name."""
        return {name: self[name] for name in self._values}

    def cached(self, key: Any, make: Callable[[], T]) -> T:
        """RETURNS (T): What `make` computes from the parameters, until one of them changes."""
        return cached(self, key, self.tensors, make)
