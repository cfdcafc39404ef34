"""Options and errors that commands share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from wasabi import msg

ModelArg = Annotated[str, typer.Argument(help="Pipeline with a language model: name or path")]
ComponentOpt = Annotated[
    str | None, typer.Option("--component", "-c", help="Name of the language model's component")
]
PipelineArg = Annotated[str, typer.Argument(help="Pipeline: name or path")]
RecurrentOpt = Annotated[
    str | None,
    typer.Option("--component", "-c", help="Name of the component with recurrent layers"),
]
TaskOpt = Annotated[
    str | None, typer.Option("--task", "-T", help="Task of number agreement data, such as nounpp")
]
GpuOpt = Annotated[int, typer.Option("--gpu-id", "-g", help="GPU ID or -1 for CPU")]


@contextmanager
def show_errors(title: str) -> Iterator[None]:
    """Show errors without a traceback and exit.

    title (str): The title of the message.
    """
    try:
        yield
    except (ValueError, OSError, ImportError) as err:
        msg.fail(title, str(err), exits=1)
