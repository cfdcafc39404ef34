"""How a torch module is stored: its settings, and its weights in the safetensors format."""

from dataclasses import dataclass
from typing import Any

import safetensors.torch
import srsly
import torch
from safetensors import SafetensorError
from torch import nn


@dataclass(frozen=True)
class StoredModule:
    """What is stored of a module.

    settings (Dict[str, Any]): What the config said.
    inferred (Optional[Dict[str, Any]]): What was inferred at initialisation, None before it.
    tensors (Dict[str, Tensor]): The parameters and buffers, on the CPU.
    """

    settings: dict[str, Any]
    inferred: dict[str, Any] | None
    tensors: dict[str, torch.Tensor]

    def to_bytes(self) -> bytes:
        """RETURNS (bytes): Everything, without a pickle."""
        message = {"settings": self.settings, "inferred": self.inferred}
        return srsly.msgpack_dumps({**message, "tensors": safetensors.torch.save(self.tensors)})

    @classmethod
    def from_bytes(cls, bytes_data: bytes) -> "StoredModule":
        """Read what `to_bytes` returned.

        bytes_data (bytes): The stored module.
        RETURNS (StoredModule): The module.
        RAISES (ValueError): If it is none, or damaged.
        """
        try:
            message = srsly.msgpack_loads(bytes_data)
            inferred = message["inferred"]
            return cls(
                dict(message["settings"]),
                None if inferred is None else dict(inferred),
                safetensors.torch.load(message["tensors"]),
            )
        except (ValueError, KeyError, TypeError, SafetensorError) as err:
            reason = f"these are no weights of spacy-rnn, or damaged ones ({err})"
            raise ValueError(reason) from err

    def check_settings(self, settings: dict[str, Any]) -> None:
        """Raise a ValueError unless the config says the same.

        settings (Dict[str, Any]): What the config says.
        """
        # As they would look when they came out of a file.
        expected = srsly.msgpack_loads(srsly.msgpack_dumps(settings))
        for name in sorted({*self.settings, *expected}):
            stored, wanted = self.settings.get(name), expected.get(name)
            if stored != wanted:
                raise ValueError(
                    f"the weights were made with {name} = {stored!r}, but the config says "
                    f"{name} = {wanted!r}: load them with the config they were trained with"
                )

    def load_into(self, module: nn.Module) -> None:
        """Set a module's parameters and buffers.

        module (nn.Module): The module.
        RAISES (ValueError): If one is missing, unknown or of another shape. Nothing has
            been changed then.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        for name in sorted({*shapes, *self.tensors}):
            stored = tuple(self.tensors[name].shape) if name in self.tensors else None
            if stored != shapes.get(name):
                raise ValueError(
                    f"tensor {name!r} has shape {stored} in the file, but the config asks for "
                    f"{shapes.get(name)}"
                )
        module.load_state_dict(self.tensors)
