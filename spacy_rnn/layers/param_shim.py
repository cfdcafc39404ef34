"""What prediction computes from the parameters of a Thinc layer, kept until they change."""

from collections.abc import Callable
from typing import Any, cast

from thinc.api import Model, Optimizer, Shim

from ..modules.weights import Weights


class ParamShim(Shim):
    """Keep the parameters of a Thinc layer as `Weights`, with what is cached from them. They have
    no version, but an optimizer, a device and a file tell the layer's shims when they write to
    them, and everything else replaces their arrays.

    int8 (bool): Whether the layer predicts with 8-bit integers, on a CPU that has instructions for
        it.
    """

    def __init__(self, *, int8: bool = False):
        super().__init__(None)
        self.int8 = int8
        self._known: tuple[dict[str, Any], Weights] | None = None

    def get_weights(self, model: Model) -> Weights:
        """RETURNS (Weights): The parameters of a layer, which has this shim, on the CPU."""
        params: dict[str, Any] = {name: model.get_param(name) for name in model.param_names}
        known = self._known
        if known is None or any(known[0].get(name) is not param for name, param in params.items()):
            arrays = {name: model.ops.to_numpy(param) for name, param in params.items()}
            known = self._known = params, Weights(arrays)
        return known[1]

    def finish_update(self, optimizer: Optimizer) -> None:
        """Forget the parameters, which the optimizer is about to change."""
        self._known = None

    def to_device(self, device_type: str, device_id: int) -> None:
        """Forget the parameters."""
        self._known = None

    def to_bytes(self) -> bytes:
        """RETURNS (bytes): Nothing: the layer stores its parameters."""
        return b""

    def from_bytes(self, data: bytes) -> "ParamShim":
        """Forget the parameters, which were loaded."""
        self._known = None
        return self

    def copy(self) -> "ParamShim":
        """RETURNS (ParamShim): A shim for a copy of the layer."""
        return ParamShim(int8=self.int8)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[bool]]:
        return _make, (self.int8,)


def _make(int8: bool) -> ParamShim:
    return ParamShim(int8=int8)


def get_param_shim(model: Model) -> ParamShim:
    """RETURNS (ParamShim): The shim of a layer."""
    return cast(ParamShim, model.shims[0])
