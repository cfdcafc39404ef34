"""Annotate Parquet or JSONL with PySpark, on this machine or on a cluster."""

import os
import sys
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from wasabi import msg

from spacy_rnn.batch import BatchPipeline

if TYPE_CHECKING:
    from pandas import DataFrame

app = typer.Typer(add_completion=False)


@app.command()
def annotate_cli(
    pipeline: Annotated[str, typer.Argument(help="Trained pipeline: a directory or a package")],
    source: Annotated[str, typer.Argument(help="Directory or file to read")],
    target: Annotated[str, typer.Argument(help="Directory to overwrite")],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Read and write JSONL")] = False,
    text: Annotated[str, typer.Option(help="Column with the texts")] = "text",
    columns: Annotated[str, typer.Option(help="Columns to add")] = "tags,entities,cats",
    cpus: Annotated[int, typer.Option(help="CPUs, and threads, of each task")] = 1,
    partitions: Annotated[int, typer.Option(help="Number of tasks, 0 for the input's")] = 0,
    batch_size: Annotated[int, typer.Option(help="Texts in a batch")] = 1000,
    master: Annotated[
        str,
        typer.Option(
            help="Spark's master. local[2,4]: two CPUs here, a task may fail four times. "
            "Empty: as spark-submit says"
        ),
    ] = "local[2,4]",
) -> None:
    """Add the annotation of each text as columns."""
    from pyspark.sql import SparkSession
    from pyspark.sql.types import BinaryType, StringType, StructType

    start = perf_counter()
    names = columns.split(",")
    if jsonl and "docbin" in names:
        msg.fail("JSON can't hold the bytes of a DocBin", "Use Parquet.", exits=1)
    annotate = BatchPipeline(pipeline, columns=names, n_threads=cpus)
    builder = SparkSession.builder.appName("spacy-rnn")
    if master:
        builder = builder.master(master)
    if master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        builder.config("spark.task.cpus", cpus)
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", batch_size)
        .getOrCreate()
    )
    frame = spark.read.json(source) if jsonl else spark.read.parquet(source)
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
    writer.json(target) if jsonl else writer.parquet(target)
    spark.stop()
    msg.good(f"{target}: annotated in {perf_counter() - start:.1f} s, Spark's start included")


if __name__ == "__main__":
    app()
