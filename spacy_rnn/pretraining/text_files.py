"""Raw text from files, line by line: no more than a line is in memory."""

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

_OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}
_FORMATS = (".txt", ".jsonl")

# A text, or the words of one that is tokenized already.
Text = str | list[str]


def find_files(path: str | Path) -> list[Path]:
    """Find text files: `.txt`, one text a line, or `.jsonl`, with the text under the key "text", or
    its words under the key "tokens"; either of them may be compressed, with `.gz`, `.xz` or `.bz2`
    after it.

    path (str / Path): A file of any name, taken for plain text if it is none of those, or a
        directory, of which all such files are read in the order of their names.
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
            f"Can't read texts from directory '{path}': it has no files *.txt or *.jsonl, as they "
            "are or with .gz, .xz or .bz2."
        )
    return files


def read_texts(files: Sequence[Path]) -> Iterator[Text]:
    """Read texts, none of them blank.

    files (Sequence[Path]): The files.
    YIELDS (str / List[str]): The texts, without white space around them, or their words.
    RAISES (ValueError): If a file is damaged, not in UTF-8, not what its name says, or has no
        text. The error names the file and the line.
    """
    for file in files:
        n_texts, line_number = 0, 0
        try:
            with _OPENERS.get(file.suffix, open)(file, "rb") as lines:
                for line in lines:
                    line_number += 1
                    text = _parse(line, file, is_first=line_number == 1)
                    if text:
                        n_texts += 1
                        yield text
        except (OSError, EOFError, lzma.LZMAError, zlib.error, UnicodeDecodeError, ValueError) as e:
            raise ValueError(
                f"Can't read texts from '{file}', line {line_number + (not _is_data(e))}: "
                f"{_explain(e)}"
            ) from e
        if not n_texts:
            raise ValueError(f"Can't read texts from '{file}': it has none.")


def _parse(line: bytes, file: Path, *, is_first: bool) -> Text:
    # Only at the start of a file is U+FEFF a byte order mark.
    content = line.decode("utf-8-sig" if is_first else "utf8").strip()
    if _get_format(file) != ".jsonl" or not content:
        return content
    record = json.loads(content)
    if isinstance(record, dict):
        text, words = record.get("text"), record.get("tokens")
        # Other tools have more than strings there, beside the text.
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return [word for word in words if word.strip()]
        if isinstance(text, str):
            return text.strip()
    raise ValueError(
        'each line must be an object with a string under "text", or a list of strings under '
        '"tokens"'
    )


def _get_format(file: Path) -> str:
    return Path(file.stem).suffix if file.suffix in _OPENERS else file.suffix


def _is_data(err: Exception) -> bool:
    # Otherwise the line after the last good one could not even be read.
    return isinstance(err, ValueError)


def _explain(err: Any) -> str:
    if isinstance(err, UnicodeDecodeError):
        return f"it is not in UTF-8 ({err.reason} at byte {err.start}). Convert it first."
    if isinstance(err, json.JSONDecodeError):
        return f"it is no JSON ({err.msg} at character {err.pos})."
    return f"{err}. Is the file whole?"
