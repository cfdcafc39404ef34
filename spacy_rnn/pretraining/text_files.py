"""Raw text from files, one line in memory at a time."""

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
_FORMATS = (".txt", ".jsonl")

# A text, or its words if it is already tokenized.
Text = str | list[str]


def find_files(path: str | Path) -> list[Path]:
    """Find text files: `.txt` with one text per line, or `.jsonl` with the text under "text" or its
    words under "tokens". Both may be compressed: `.gz`, `.xz` or `.bz2`.

    path (str / Path): A directory, whose files are read in the order of their names; or a file. A
        file with another suffix is read as plain text.
    RETURNS (List[Path]): The files.
    RAISES (ValueError): If there are none.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"Can't read texts from '{path}': there is no such file or directory.")
    files = sorted(file for file in path.iterdir() if _get_format(file) in _FORMATS)
    if not files:
        raise ValueError(
            f"Can't read texts from directory '{path}': it has no .txt or .jsonl files. They may "
            "be compressed: .gz, .xz or .bz2."
        )
    return files


def read_texts(files: Sequence[Path]) -> Iterator[Text]:
    """Read texts. Blank ones are skipped.

    files (Sequence[Path]): The files.
    YIELDS (str / List[str]): Each text, stripped of white space, or its words.
    RAISES (ValueError): If a file is damaged, has another encoding or format, or has no text. The
        error names the file and the line.
    """
    for file in files:
        n_texts = number = 0
        try:
            with _OPENERS.get(file.suffix, open)(file, "rb") as lines:
                for number, line in enumerate(lines, start=1):
                    text = _parse(line, file, is_first=number == 1)
                    if text:
                        n_texts += 1
                        yield text
        except ValueError as err:
            raise ValueError(f"Can't read texts from '{file}', line {number}: {err}") from err
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as err:
            raise ValueError(
                f"Can't read texts from '{file}' after line {number}: {err}. Is the file complete?"
            ) from err
        if not n_texts:
            raise ValueError(f"Can't read texts from '{file}': it has none.")


def _parse(line: bytes, file: Path, *, is_first: bool) -> Text:
    try:
        # U+FEFF is a byte order mark only at the start of a file.
        content = line.decode("utf-8-sig" if is_first else "utf8").strip()
        if _get_format(file) != ".jsonl" or not content:
            return content
        record = json.loads(content)
    except UnicodeDecodeError as err:
        raise ValueError(f"it is not in UTF-8 ({err.reason}). Convert the file.") from err
    except json.JSONDecodeError as err:
        raise ValueError(f"it is not JSON ({err.msg} at character {err.pos}).") from err
    if isinstance(record, dict):
        text, words = record.get("text"), record.get("tokens")
        # Other tools store objects under "tokens", beside the text.
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return [word for word in words if word.strip()]
        if isinstance(text, str):
            return text.strip()
    raise ValueError(
        'it must be an object with a string under "text" or a list of strings under "tokens".'
    )


def _get_format(file: Path) -> str:
    return Path(file.stem).suffix if file.suffix in _OPENERS else file.suffix
