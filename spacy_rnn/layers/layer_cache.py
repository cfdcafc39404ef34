"""What texts were encoded to, kept from one epoch to the next."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from spacy.tokens import Doc

from ..modules.cache import Version, get_version


class LayerCache:
    """Keep what texts were encoded to, until the memory for it is used up, and as long as the
    weights stay as they are.

    megabytes (int): How much memory that is.
    """

    def __init__(self, megabytes: int):
        self._megabytes = megabytes
        self._free = megabytes * 10**6
        self._layers: dict[bytes, Any] = {}
        self._versions: tuple[Version, ...] = ()

    def get_layers(
        self,
        docs: Sequence[Doc],
        encode: Callable[[Sequence[Doc]], list[Any]],
        weights: Iterable[torch.Tensor] = (),
    ) -> list[Any]:
        """Get what was kept, and encode the others.

        docs (Sequence[Doc]): The Docs.
        encode (Callable[[Sequence[Doc]], List[Floats3d]]): Encodes Docs.
        weights (Iterable[Tensor]): What the result depends on besides.
        RETURNS (List[Floats3d]): The layers of each.
        """
        if not self._megabytes:
            return encode(docs)
        versions = tuple(map(get_version, weights))
        if versions != self._versions:
            self._versions, self._layers = versions, {}
            self._free = self._megabytes * 10**6
        keys = [doc.to_array(["ORTH", "NORM"]).tobytes() for doc in docs]
        missing = [i for i, key in enumerate(keys) if key not in self._layers]
        new = dict(zip(missing, encode([docs[i] for i in missing]) if missing else [], strict=True))
        found = [new[i] if i in new else self._layers[keys[i]] for i in range(len(docs))]
        for i, layers in new.items():
            if layers.nbytes <= self._free and keys[i] not in self._layers:
                self._layers[keys[i]] = layers
                self._free -= layers.nbytes
        return found

    def __getstate__(self) -> dict[str, Any]:
        # What is kept belongs to this process.
        return vars(LayerCache(self._megabytes))
