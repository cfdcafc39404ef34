"""Annotate Parquet or JSONL with Ray Data, on this machine or on a cluster."""

from time import perf_counter
from typing import Annotated, Any

import typer
from wasabi import msg

from spacy_rnn.batch import BatchPipeline

app = typer.Typer(add_completion=False)


class Annotate:
    """What an actor runs. It stays, so it loads the pipeline once."""

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
    target: Annotated[str, typer.Argument(help="Directory to overwrite, local or s3://")],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Read and write JSONL")] = False,
    text: Annotated[str, typer.Option(help="Column with the texts")] = "text",
    columns: Annotated[str, typer.Option(help="Columns to add")] = "tags,entities,cats",
    workers: Annotated[int, typer.Option(help="Number of actors")] = 2,
    cpus: Annotated[int, typer.Option(help="CPUs, and threads, of each actor")] = 1,
    batch_size: Annotated[int, typer.Option(help="Texts in a batch")] = 1000,
    address: Annotated[
        str, typer.Option(help="Address of a cluster, such as auto. Empty: start Ray here")
    ] = "",
) -> None:
    """Add the annotation of each text as columns."""
    import ray

    start = perf_counter()
    names = columns.split(",")
    if jsonl and "docbin" in names:
        msg.fail("JSON can't hold the bytes of a DocBin", "Use Parquet.", exits=1)
    annotate = BatchPipeline(pipeline, columns=names, n_threads=cpus)
    # Reading and writing need one CPU more than the actors.
    ray.init(address) if address else ray.init(num_cpus=workers * cpus + 1)
    data = ray.data.read_json(source) if jsonl else ray.data.read_parquet(source)
    # Ray reads small files as one block, which one actor would get.
    data = data.repartition(target_num_rows_per_block=batch_size).map_batches(
        Annotate,
        fn_constructor_args=(annotate, text),
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=cpus,
        batch_size=batch_size,
    )
    write = data.write_json if jsonl else data.write_parquet
    write(target, mode="overwrite")
    msg.good(f"{target}: annotated in {perf_counter() - start:.1f} s, Ray's start included")


if __name__ == "__main__":
    app()
