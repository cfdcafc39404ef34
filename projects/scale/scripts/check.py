"""Check what an engine wrote: no text is missing or doubled, and its columns are those that
`nlp.pipe` gives alone.
"""

import json
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import spacy
import typer
from spacy.language import Language
from spacy.tokens import DocBin
from wasabi import msg

from spacy_rnn.batch import BatchPipeline

# Without compiled kernels, values depend a little on the rest of the batch.
TOLERANCE = 1e-5

app = typer.Typer(add_completion=False)


@app.command()
def check_cli(
    pipeline: Annotated[str, typer.Argument(help="Trained pipeline")],
    source: Annotated[Path, typer.Argument(help="What was annotated, .parquet or .jsonl files")],
    target: Annotated[Path, typer.Argument(help="What was written")],
) -> None:
    """Compare ids and columns. Exits with 1 if they differ."""
    rows, written = read_rows(source), read_rows(target)
    problems = compare_ids([row["id"] for row in rows], [row["id"] for row in written])
    if not problems:
        columns = [name for name in written[0] if name not in rows[0]]
        start = perf_counter()
        expected = annotate_alone(pipeline, rows, columns)
        msg.info(f"nlp.pipe alone, its load included: {perf_counter() - start:.1f} s")
        problems = compare_rows(expected, written, columns, spacy.load(pipeline))
    if problems:
        msg.fail(f"{target} has {len(problems)} faults", "\n".join(problems[:10]), exits=1)
    msg.good(f"{target}: {len(rows)} texts, each id once, the same as by nlp.pipe alone")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of all Parquet or JSON files of a directory."""
    files = sorted(path.glob("*.parquet"))
    if files:
        from pyarrow import parquet

        return [row for file in files for row in parquet.read_table(file).to_pylist()]
    # Spark puts checksums beside its files.
    files = sorted(file for file in path.glob("*.json*") if file.suffix != ".crc")
    if not files:
        msg.fail(f"{path} has no .parquet or .json files", exits=1)
    texts = (file.read_text(encoding="utf8") for file in files)
    return [json.loads(line) for text in texts for line in text.split("\n") if line]


def compare_ids(expected: list[Any], found: list[Any]) -> list[str]:
    """RETURNS (List[str]): The ids that are missing, doubled or unknown."""
    counts = Counter(found)
    missing = [f"id {i} is missing" for i in expected if i not in counts]
    doubled = [f"id {i} is there {n} times" for i, n in counts.items() if n > 1]
    known = set(expected)
    return missing + doubled + [f"id {i} is unknown" for i in counts if i not in known]


def annotate_alone(pipeline: str, rows: list[dict[str, Any]], columns: list[str]) -> dict[Any, Any]:
    """RETURNS (Dict[Any, Dict[str, Any]]): The columns of each id."""
    values = BatchPipeline(pipeline, columns=columns)([row["text"] for row in rows])
    return {row["id"]: {name: values[name][i] for name in columns} for i, row in enumerate(rows)}


def compare_rows(
    expected: dict[Any, Any], written: list[dict[str, Any]], columns: list[str], nlp: Language
) -> list[str]:
    """RETURNS (List[str]): The values that differ."""
    return [
        f"id {row['id']}: {name} is {row[name]!r:.200}, not {expected[row['id']][name]!r:.200}"
        for row in written
        for name in columns
        if not is_same(read(row[name], nlp), read(expected[row["id"]][name], nlp))
    ]


def read(value: str | bytes, nlp: Language) -> Any:
    """Read a value of a column: JSON, or the bytes of a DocBin."""
    if isinstance(value, str):
        return json.loads(value)
    (doc,) = DocBin().from_bytes(value).get_docs(nlp.vocab)
    entities = [
        [ent.start_char, ent.end_char, ent.label_, doc.user_data.get(key)]
        for ent in doc.ents
        for key in [("._.", "probability", ent.start_char, ent.end_char)]
    ]
    return [[token.tag_ for token in doc], entities, doc.cats]


def is_same(a: Any, b: Any) -> bool:
    """RETURNS (bool): Whether two values are the same, but for the last digits of floats."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= TOLERANCE
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(is_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(is_same, a, b))
    return bool(a == b)


if __name__ == "__main__":
    app()
