"""Annotate Parquet or JSONL with Ray Data, on this machine or on a cluster."""

from enum import Enum
from time import perf_counter
from typing import Annotated, Any

import ray
import typer
from wasabi import msg

from spacy_rnn.batch import BatchPipeline

app = typer.Typer(add_completion=False)


class Format(str, Enum):
    """The format of the input and the output."""

    parquet = "parquet"
    jsonl = "jsonl"


class Annotate:
    """An actor: it stays, so it loads the pipeline once."""

    def __init__(self, pipeline: BatchPipeline, text: str):
        self.pipeline = pipeline
        self.text = text

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add the columns to a batch."""
        return {**batch, **self.pipeline(batch[self.text])}


@app.command()
def annotate_cli(
    pipeline: Annotated[str, typer.Argument(help="Trained pipeline: a directory or a package")],
    source: Annotated[str, typer.Argument(help="Directory or file to read, local or s3://")],
    target: Annotated[str, typer.Argument(help="Directory to write, local or s3://")],
    format: Annotated[Format, typer.Option(help="Format of both")] = Format.parquet,
    text: Annotated[str, typer.Option(help="Column with the texts")] = "text",
    columns: Annotated[str, typer.Option(help="Columns to add")] = "tags,entities,cats",
    workers: Annotated[int, typer.Option(help="Number of actors")] = 2,
    cpus: Annotated[int, typer.Option(help="CPUs, and threads, of each actor")] = 1,
    batch_size: Annotated[int, typer.Option(help="Texts in a batch")] = 1000,
    address: Annotated[
        str, typer.Option(help="Address of a cluster, such as auto. Empty: start Ray here")
    ] = "",
) -> None:
    """Add the tags, entities and categories of each text as columns."""
    start = perf_counter()
    names = columns.split(",")
    if format is Format.jsonl and "docbin" in names:
        msg.fail("JSON can't hold the bytes of a DocBin", "Write Parquet.", exits=1)
    annotate = BatchPipeline(pipeline, columns=names, n_threads=cpus)
    # Reading and writing need a CPU beside those of the actors.
    ray.init(address) if address else ray.init(num_cpus=workers * cpus + 1)
    if format is Format.parquet:
        data = ray.data.read_parquet(source)
    else:
        data = ray.data.read_json(source, file_extensions=["jsonl"])
    # Small files are read as one block, which would be one task.
    data = data.repartition(target_num_rows_per_block=batch_size).map_batches(
        Annotate,
        fn_constructor_args=(annotate, text),
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=cpus,
        batch_size=batch_size,
    )
    if format is Format.parquet:
        data.write_parquet(target, mode="overwrite")
    else:
        data.write_json(target, mode="overwrite")
    msg.good(f"{target}: annotated in {perf_counter() - start:.1f} s, Ray's start included")


if __name__ == "__main__":
    app()
