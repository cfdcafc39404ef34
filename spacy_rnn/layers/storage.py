"""Torch modules as bytes: their settings, and their weights in the safetensors format."""

from collections.abc import Callable
from typing import Any

import safetensors.torch
import srsly
from safetensors import SafetensorError
from torch import nn


def dump_module(
    settings: dict[str, Any], inferred: dict[str, Any], module: nn.Module | None
) -> bytes:
    """Store a module without a pickle.

    settings (Dict[str, Any]): The settings from the config.
    inferred (Dict[str, Any]): What was inferred at initialisation.
    module (Optional[nn.Module]): The module, None before initialisation.
    RETURNS (bytes): All of it.
    """
    state = {} if module is None else module.state_dict()
    tensors = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
    message: dict[str, Any] = {"settings": settings, "inferred": inferred if module else None}
    return srsly.msgpack_dumps({**message, "tensors": safetensors.torch.save(tensors)})


def load_module(
    bytes_data: bytes, settings: dict[str, Any], build: Callable[..., nn.Module]
) -> tuple[nn.Module | None, dict[str, Any]]:
    """Load what `dump_module` returned.

    bytes_data (bytes): The stored module.
    settings (Dict[str, Any]): The settings from the config.
    build (Callable[..., nn.Module]): Makes a module from what was inferred.
    RETURNS (Tuple[Optional[nn.Module], Dict[str, Any]]): The module and what was inferred.
    RAISES (ValueError): If the bytes are damaged, or of a module with other settings or shapes.
    """
    try:
        message = srsly.msgpack_loads(bytes_data)
        stored, inferred = dict(message["settings"]), message["inferred"]
        inferred = None if inferred is None else dict(inferred)
        tensors = safetensors.torch.load(message["tensors"])
    except (ValueError, KeyError, TypeError, SafetensorError) as err:
        reason = f"these are no weights of spacy-rnn, or damaged ones ({err})"
        raise ValueError(reason) from err
    # As they would look when they came out of a file.
    expected = srsly.msgpack_loads(srsly.msgpack_dumps(settings))
    for name in sorted({*stored, *expected}):
        if stored.get(name) != expected.get(name):
            raise ValueError(
                f"the weights were made with {name} = {stored.get(name)!r}, but the config says "
                f"{name} = {expected.get(name)!r}: load them with the config they were trained with"
            )
    if inferred is None:
        return None, {}
    module = build(**inferred)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted({*shapes, *found}):
        if found.get(name) != shapes.get(name):
            raise ValueError(
                f"tensor {name!r} has shape {found.get(name)} in the file, but the config asks for "
                f"{shapes.get(name)}"
            )
    module.load_state_dict(tensors)
    return module, inferred
