"""Atomic writes of files and directories."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_path(path: Path) -> Iterator[Path]:
    """Write to a temporary path and rename it at the end. After an error, or if the process is
    killed, the old content stays.

    path (Path): The file or directory. Only one process at a time may write it.
    YIELDS (Path): The temporary path, in the same directory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (path.with_name(f".{path.name}.{kind}") for kind in ("tmp", "old"))
    # A process that was killed may have left them.
    _clean_up(path, temporary, old)
    try:
        yield temporary
        for file in [temporary, *temporary.rglob("*")]:
            if file.is_file():
                with open(file, "r+b") as handle:
                    os.fsync(handle.fileno())
        # A directory can't be renamed onto another.
        if path.is_dir():
            path.rename(old)
        temporary.replace(path)
    finally:
        _clean_up(path, temporary, old)


def _clean_up(path: Path, temporary: Path, old: Path) -> None:
    if old.exists() and not path.exists():
        old.rename(path)
    for left in (temporary, old):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)
