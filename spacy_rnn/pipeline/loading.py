"""Loading a component, with errors that name the component and the file."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class LoadsWithErrors:
    """Turn errors in loading into ValueErrors. Goes before spaCy's class in the list of bases."""

    name: str

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Any:
        """Load the component from a bytestring.

        bytes_data (bytes): What `to_bytes` returned.
        exclude (Iterable[str]): Names of serialization fields to leave out.
        RETURNS (TrainablePipe): The component itself.
        RAISES (ValueError): If the bytes are damaged, or another component's.
        """
        try:
            return super().from_bytes(bytes_data, exclude=exclude)  # type: ignore[misc]
        except Exception as err:
            raise ValueError(_describe(self.name, "from bytes", err)) from err

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
        return super().from_disk(path, exclude=[*exclude, *files])  # type: ignore[misc]


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
