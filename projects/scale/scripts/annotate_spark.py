"""Annotate Parquet or JSONL with PySpark, on this machine or on a cluster."""

import os
import sys
from collections.abc import Iterator
from enum import Enum
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from pyspark.sql import SparkSession
from pyspark.sql.types import BinaryType, StringType, StructType
from wasabi import msg

from spacy_rnn.batch import BatchPipeline

if TYPE_CHECKING:
    from pandas import DataFrame

app = typer.Typer(add_completion=False)


class Format(str, Enum):
    """The format of the input and the output."""

    parquet = "parquet"
    jsonl = "jsonl"


@app.command()
def annotate_cli(
    pipeline: Annotated[str, typer.Argument(help="Trained pipeline: a directory or a package")],
    source: Annotated[str, typer.Argument(help="Directory or file to read")],
    target: Annotated[str, typer.Argument(help="Directory to write")],
    format: Annotated[Format, typer.Option(help="Format of both")] = Format.parquet,
    text: Annotated[str, typer.Option(help="Column with the texts")] = "text",
    columns: Annotated[str, typer.Option(help="Columns to add")] = "tags,entities,cats",
    master: Annotated[
        str,
        typer.Option(help="Master. local[2,4]: two tasks at a time here, each tried four times"),
    ] = "local[2,4]",
    cpus: Annotated[int, typer.Option(help="CPUs, and threads, of each task")] = 1,
    partitions: Annotated[int, typer.Option(help="Number of tasks, 0 for the input's")] = 0,
    batch_size: Annotated[int, typer.Option(help="Texts in a batch")] = 1000,
) -> None:
    """Add the tags, entities and categories of each text as columns."""
    start = perf_counter()
    names = columns.split(",")
    if format is Format.jsonl and "docbin" in names:
        msg.fail("JSON can't hold the bytes of a DocBin", "Write Parquet.", exits=1)
    annotate = BatchPipeline(pipeline, columns=names, n_threads=cpus)
    if master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.master(master)
        .appName("spacy-rnn")
        .config("spark.task.cpus", cpus)
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", batch_size)
        .getOrCreate()
    )
    reader, suffix = spark.read, "*.jsonl"
    if format is Format.parquet:
        frame = reader.parquet(source)
    else:
        frame = reader.option("pathGlobFilter", suffix).json(source)
    frame = frame.drop(*names)
    if partitions:
        frame = frame.repartition(partitions)
    schema = StructType(list(frame.schema))
    for name in names:
        schema.add(name, BinaryType() if name == "docbin" else StringType())

    def annotate_batches(batches: Iterator["DataFrame"]) -> Iterator["DataFrame"]:
        for batch in batches:
            yield batch.assign(**annotate(batch[text]))

    writer = frame.mapInPandas(annotate_batches, schema).write.mode("overwrite")
    writer.parquet(target) if format is Format.parquet else writer.json(target)
    spark.stop()
    msg.good(f"{target}: annotated in {perf_counter() - start:.1f} s, Spark's start included")


if __name__ == "__main__":
    app()
