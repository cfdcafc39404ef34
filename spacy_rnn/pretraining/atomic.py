"""Files and directories that are there whole, or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_path(path: Path) -> Iterator[Path]:
    """Write to a temporary path beside the one wanted, which takes its place at the end.

    path (Path): The file or directory to be. One that is there is replaced. One process at a time
        may write it.
    YIELDS (Path): Where to write. If that fails, it is removed, and what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (path.with_name(f".{path.name}.{kind}") for kind in ("tmp", "old"))
    # Of a process that was killed.
    _remove(temporary)
    if old.exists() and not path.exists():
        old.rename(path)
    _remove(old)
    try:
        yield temporary
        _sync(temporary)
        # A directory can't be renamed onto another.
        if path.is_dir():
            path.rename(old)
        temporary.replace(path)
    except BaseException:
        _remove(temporary)
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "r+b") as handle:
                os.fsync(handle.fileno())
