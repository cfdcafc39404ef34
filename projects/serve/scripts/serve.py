"""Serve a pipeline. Settings are environment variables: see the README."""

import os
from typing import Annotated

import typer
from server import COMMANDS, PROJECT, make_command

app = typer.Typer(add_completion=False)


@app.command()
def serve_cli(
    pipeline: Annotated[str, typer.Argument(help="Path of a pipeline, or name of a package")],
    server: Annotated[str, typer.Option(help=f"One of {', '.join(COMMANDS)}")] = "uvicorn",
    workers: Annotated[int, typer.Option(min=1, help="How many processes")] = 1,
    host: Annotated[str, typer.Option(help="Address to listen to")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen to")] = 8000,
) -> None:
    """Serve a pipeline until the process is told to stop."""
    if server not in COMMANDS:
        raise typer.BadParameter(f"{server!r} is none of {', '.join(COMMANDS)}")
    command = make_command(server, workers, host, port)
    os.environ["SERVE_PIPELINE"] = (
        os.path.abspath(pipeline) if os.path.exists(pipeline) else pipeline
    )
    os.chdir(PROJECT)
    os.execv(command[0], command)


if __name__ == "__main__":
    app()
