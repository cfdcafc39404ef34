"""What texts were encoded to, kept from one epoch to the next."""

from collections.abc import Callable, Sequence
from typing import Any

from spacy.tokens import Doc


class LayerCache:
    """Keep what texts were encoded to, until the memory for it is used up.

    megabytes (int): How much memory that is.
    """

    def __init__(self, megabytes: int):
        self._megabytes = megabytes
        self._free = megabytes * 10**6
        self._layers: dict[bytes, Any] = {}

    def get_layers(
        self, docs: Sequence[Doc], encode: Callable[[Sequence[Doc]], list[Any]]
    ) -> list[Any]:
        """Get what was kept, and encode the others.

        docs (Sequence[Doc]): The Docs.
        encode (Callable[[Sequence[Doc]], List[Floats3d]]): Encodes Docs.
        RETURNS (List[Floats3d]): The layers of each.
        """
        if not self._megabytes:
            return encode(docs)
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
