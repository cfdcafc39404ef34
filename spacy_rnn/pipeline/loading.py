"""Loading a component, with errors that name the component and the file."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class LoadsWithErrors:
    """Turn errors in loading into ValueErrors. Goes before spaCy's class in the list of bases."""

    name: str
    model: Any
    labels: Any

    def count_outputs(self) -> tuple[int, int | None]:
        """RETURNS (Tuple[int, Optional[int]]): How many outputs the labels need, and how many the
        weights have; None if there are no weights, or no labels to predict.
        """
        return len(self.labels), self.model.maybe_get_dim("nO") if self.labels else None

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Any:
        """Load the component from a bytestring.

        bytes_data (bytes): What `to_bytes` returned.
        exclude (Iterable[str]): Names of serialization fields to leave out.
        RETURNS (TrainablePipe): The component itself.
        RAISES (ValueError): If the bytes are damaged, or another component's.
        """
        try:
            super().from_bytes(bytes_data, exclude=exclude)  # type: ignore[misc]
        except Exception as err:
            raise ValueError(_describe(self.name, "from bytes", err)) from err
        self._check_labels("from bytes")
        return self

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Any:
        """Load the component from a directory.

        path (str / Path): The directory.
        exclude (Iterable[str]): Names of serialization fields to leave out.
        RETURNS (TrainablePipe): The component itself.
        RAISES (ValueError): If a file is missing, damaged, or another component's.
        """
        # One file after the other, so that an error is about that file.
        path, files = Path(path), {"cfg", "model"}
        for file in sorted(files.difference(exclude)):
            if not (path / file).is_file():
                raise ValueError(
                    f"Can't load component {self.name!r}: there is no file '{path / file}'. "
                    "Is the directory a pipeline's, saved whole?"
                )
            others = [*exclude, "vocab", *files - {file}]
            try:
                super().from_disk(path, exclude=others)  # type: ignore[misc]
            except Exception as err:
                raise ValueError(_describe(self.name, f"from '{path / file}'", err)) from err
        super().from_disk(path, exclude=[*exclude, *files])  # type: ignore[misc]
        self._check_labels(f"from '{path / 'cfg'}'")
        return self

    def _check_labels(self, source: str) -> None:
        needed, found = self.count_outputs()
        if found is not None and found != needed:
            raise ValueError(
                f"Can't load component {self.name!r} {source}: its {len(self.labels)} labels need "
                f"{needed} outputs, but the weights in 'model' have {found}. Is 'cfg' another "
                "component's? Take both from the same pipeline."
            )


def _describe(component: str, source: str, err: Exception) -> str:
    message = f"Can't load component {component!r} {source}: {err or type(err).__name__}"
    # Thinc's message for a model with the config's layers, but other sizes.
    change = re.match(
        r"Attempt to change dimension '(\w+)' for model '(.+)' from (\d+) to", str(err)
    )
    if change is None:
        return message
    dimension, layer, size = change.groups()
    return (
        f"{message}. The file is of a model of other sizes: here {dimension} of layer {layer!r} is "
        f"{size}. Build the pipeline from the config.cfg that was saved with the file."
    )
