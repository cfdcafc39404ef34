"""Cached output of a language model, from one epoch to the next."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from spacy.tokens import Doc

from ..modules.cache import cached


class LayerCache:
    """Keep the layers of Docs until the memory is used up or the weights change.

    megabytes (int): The memory.
    """

    def __init__(self, megabytes: int):
        self._megabytes = megabytes

    def get_layers(
        self,
        docs: Sequence[Doc],
        encode: Callable[[Sequence[Doc]], list[Any]],
        weights: Iterable[Any] = (),
    ) -> list[Any]:
        """Get layers, encoding the Docs that are missing.

        docs (Sequence[Doc]): The Docs.
        encode (Callable[[Sequence[Doc]], List[Floats3d]]): Encodes Docs.
        weights (Iterable[Tensor]): The weights that it uses.
        RETURNS (List[Floats3d]): The layers of each Doc.
        """
        if not self._megabytes:
            return encode(docs)
        # By reference to this object, so that copies and pickles don't carry it.
        layers: dict[bytes, Any] = cached(self, "layers", weights, dict)
        free = self._megabytes * 10**6 - sum(kept.nbytes for kept in layers.values())
        keys = [doc.to_array(["ORTH", "NORM"]).tobytes() for doc in docs]
        missing = [i for i, key in enumerate(keys) if key not in layers]
        new = dict(zip(missing, encode([docs[i] for i in missing]) if missing else [], strict=True))
        found = [new[i] if i in new else layers[key] for i, key in enumerate(keys)]
        for i, of_doc in new.items():
            if of_doc.nbytes <= free and keys[i] not in layers:
                layers[keys[i]] = of_doc
                free -= of_doc.nbytes
        return found
