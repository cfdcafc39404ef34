"""Lay out the data of this project: raw texts to pretrain on, and number agreement data."""

import lzma
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import typer
from wasabi import msg

N_SHARDS = 16
MIN_WORDS, MIN_CHARS = 8, 500
AGREEMENT = {"colorlessgreen": "colorlessgreen.tar.gz", "lakretz_na": "lakretz.tar.gz"}
_MARKUP = re.compile(r"<[^>]+>|\{\{|\}\}|\[\[|\]\]|&lt;|&gt;|__[A-Z]+__")
_END = re.compile(r"[.!?][\"')\]]*$")


def main(assets: Path, data: str = typer.Argument("")) -> None:
    """Use the local copies if there is a directory of them, or else what was downloaded."""
    if data:
        source = Path(data)
        wiki = assets / "wiki_en"
        for shard in sorted((source / "wiki_en").glob("train-*.txt.xz")):
            _link(shard, wiki / "train" / shard.name)
        _link(source / "wiki_en" / "valid.txt.xz", wiki / "valid.txt.xz")
        for name in AGREEMENT:
            _link(source / name, assets / "agreement" / name)
        msg.good(f"Linked the data in {source}")
        return
    for name, archive in AGREEMENT.items():
        with tarfile.open(assets / archive) as tar:
            tar.extractall(assets / "agreement" / name, filter="data")
    write_texts(assets / "wikiVisual.tar.gz", assets / "wiki_en")


def write_texts(archive: Path, output: Path) -> None:
    """Write the paragraphs of all articles, one a line, divided by a checksum of their IDs:
    2 of 100 for validation, 2 left out for a test, the others in shards, of which the first eight
    are for training.
    """
    temporary = output.with_name(f"{output.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "train").mkdir(parents=True)
    paths = {"valid": temporary / "valid.txt.xz"}
    for i in range(N_SHARDS // 2):
        paths[str(i)] = temporary / "train" / f"train-{i:02d}.txt.xz"
    seen = set()
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(lzma.open(path, "wt", encoding="utf8"))
            for name, path in paths.items()
        }
        for identifier, text in read_articles(archive):
            paragraphs = [line for line in text.splitlines()[1:] if is_paragraph(line)]
            if identifier in seen or sum(map(len, paragraphs)) < MIN_CHARS:
                continue
            seen.add(identifier)
            share = zlib.crc32(identifier.encode("utf8")) % 100
            name = "valid" if share in (2, 3) else str((share - 4) % N_SHARDS)
            if share > 1 and name in files:
                files[name].write("\n".join(paragraphs) + "\n\n")
    shutil.rmtree(output, ignore_errors=True)
    temporary.rename(output)
    msg.good(f"Wrote the paragraphs of {len(seen)} articles to {output}")


def read_articles(archive: Path) -> Iterator[tuple[str, str]]:
    """Read WikiExtractor's output: the ID and text of each article."""
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if "/wiki_" in member.name else None
            if file is None:
                continue
            content = file.read().decode("utf8", errors="replace")
            pattern = r'<doc id="([^"]+)"[^>]*>\n(.*?)</doc>'
            yield from re.findall(pattern, content, flags=re.DOTALL)


def is_paragraph(line: str) -> bool:
    """Whether a line is running text: neither a heading nor left-over markup."""
    is_text = len(line.split()) >= MIN_WORDS and _END.search(line.strip()) is not None
    return is_text and _MARKUP.search(line) is None


def _link(source: Path, target: Path) -> None:
    if not source.exists():
        msg.fail(f"There is no '{source}'", exits=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.symlink_to(source.resolve())


if __name__ == "__main__":
    typer.run(main)
