"""Weights as bytes, with their settings, in the safetensors format."""

from collections.abc import Mapping
from typing import Any

import numpy
import safetensors.numpy
import srsly
from safetensors import SafetensorError

# Suffix of the name of a boolean array that is stored with eight bits in a byte.
_PACKED = ":bits"


def dump_weights(
    settings: dict[str, Any],
    inferred: dict[str, Any],
    arrays: dict[str, numpy.ndarray] | None,
    *,
    half: bool = False,
) -> bytes:
    """Store weights without a pickle.

    settings (Dict[str, Any]): The settings from the config.
    inferred (Dict[str, Any]): What was inferred at initialisation.
    arrays (Optional[Dict[str, ndarray]]): The weights by name, None before initialisation.
    half (bool): Whether to store numbers in half precision (float16), and bits as bits.
    RETURNS (bytes): All of it.
    """
    tensors = {name: numpy.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    if half:
        tensors = dict(_shrink(name, array) for name, array in tensors.items())
    message = {"settings": settings, "inferred": None if arrays is None else inferred}
    return srsly.msgpack_dumps({**message, "tensors": safetensors.numpy.save(tensors)})


def load_weights(
    bytes_data: bytes, settings: dict[str, Any]
) -> tuple[dict[str, numpy.ndarray] | None, dict[str, Any]]:
    """Load what `dump_weights` returned.

    bytes_data (bytes): The stored weights.
    settings (Dict[str, Any]): The settings from the config.
    RETURNS (Tuple[Optional[Dict[str, ndarray]], Dict[str, Any]]): The weights and what was
        inferred.
    RAISES (ValueError): If the bytes are damaged, or of other settings.
    """
    try:
        message = srsly.msgpack_loads(bytes_data)
        stored, inferred = dict(message["settings"]), message["inferred"]
        inferred = None if inferred is None else dict(inferred)
        tensors = safetensors.numpy.load(message["tensors"])
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
    return dict(_expand(name, array) for name, array in tensors.items()), inferred


def _shrink(name: str, array: numpy.ndarray) -> tuple[str, numpy.ndarray]:
    if array.dtype == bool and array.size % 8 == 0 and array.ndim == 1:
        return name + _PACKED, numpy.packbits(array)
    half = array.astype(numpy.float16)
    if not numpy.isfinite(half).all():
        raise ValueError(f"tensor {name!r} has values beyond half precision")
    return name, half


def _expand(name: str, array: numpy.ndarray) -> tuple[str, numpy.ndarray]:
    if name.endswith(_PACKED):
        return name.removesuffix(_PACKED), numpy.unpackbits(array).astype(bool)
    return name, array.astype(numpy.float32) if array.dtype == numpy.float16 else array


def check_shapes(expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise a ValueError unless weights have the names and shapes that a network asks for.

    expected, found (Mapping[str, Tensor / ndarray]): The weights by name.
    """
    for name in sorted({*expected, *found}):
        shapes = [tuple(some[name].shape) if name in some else None for some in (found, expected)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"tensor {name!r} has shape {shapes[0]} in the file, but the config asks for "
                f"{shapes[1]}"
            )
