"""Cache what is computed from tensors, until their values change."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Version = tuple[int, int, int]

# Neither copied nor pickled with its owner.
_caches: "WeakKeyDictionary[Any, dict[Any, tuple[tuple[Version, ...], Any]]]" = WeakKeyDictionary()


def cached(owner: Any, key: Any, tensors: Iterable["torch.Tensor"], make: Callable[[], T]) -> T:
    """Get a value that was computed from tensors, computing it again only if they have changed.

    A change is noticed when a tensor has other memory, when torch counted an operation in place,
    and when `mark_changed` was called. A write to `param.data` is none of these: whoever writes
    there has to call `mark_changed`.

    owner (Any): The object that the value belongs to, by weak reference: it is forgotten with it.
    key (Any): Tells the values of one owner apart.
    tensors (Iterable[Tensor]): What the value is computed from.
    make (Callable[[], T]): Computes it.
    RETURNS (T): The value.
    """
    versions = tuple(map(get_version, tensors))
    values = _caches.setdefault(owner, {})
    found = values.get(key)
    if found is None or found[0] != versions:
        found = values[key] = versions, make()
    return found[1]


def mark_changed(tensors: Iterable["torch.Tensor"]) -> None:
    """Invalidate what is cached from tensors that were written to without torch's counting it.

    Torch's count alone would not do: an optimizer that counted there would make a backward pass
    fail whose forward pass came before the step. In spaCy that is the order of a shared `tok2vec`
    and the components that listen to it, in `nlp.update` with an optimizer.

    tensors (Iterable[Tensor]): The tensors.
    """
    for tensor in tensors:
        tensor._n_changes = getattr(tensor, "_n_changes", 0) + 1  # type: ignore[attr-defined]


def get_version(tensor: "torch.Tensor") -> Version:
    """RETURNS (Tuple[int, int, int]): A stamp that differs once the tensor's values do."""
    return tensor.data_ptr(), tensor._version, getattr(tensor, "_n_changes", 0)
