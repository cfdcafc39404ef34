"""The log of a run of pretraining, in JSON lines."""

import json
from pathlib import Path
from typing import Any

from .atomic import replace_path


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Add a line to a log.

    path (Path): The log.
    record (Dict[str, Any]): What it says.
    """
    with open(path, "a", encoding="utf8") as log:
        log.write(json.dumps(record) + "\n")


def cut_log(path: Path, last: int) -> None:
    """Leave out what was logged after a checkpoint, or by a run that has none.

    path (Path): The log, if there is one.
    last (int): The updates before the checkpoint; 0 where there is none.
    """
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf8").splitlines(keepends=True)
    kept = [line for line in lines if last and json.loads(line)["step"] <= last]
    if len(kept) < len(lines):
        with replace_path(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf8")
