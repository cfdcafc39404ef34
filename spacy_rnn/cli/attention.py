from pathlib import Path

import typer
from spacy.cli._util import setup_gpu
from wasabi import msg

from ..probing.alignments import load_attention, map_attention
from ..probing.heat_map import draw_heat_maps, render_page
from ._util import GpuOpt, show_errors


def attention_cli(
    model: str = typer.Argument(..., help="Pipeline: name or path"),
    text: str = typer.Argument(..., help="Words to read"),
    component: str | None = typer.Option(None, "--component", "-c", help="Name of the component"),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="HTML or PNG file, by its suffix. A PNG needs matplotlib"
    ),
    use_gpu: GpuOpt = -1,
) -> None:
    """Show what a component attends to. Of an rnn_lemmatizer or rnn_transducer: what the decoder
    looks at when it writes each character. The characters of the word are columns, the characters
    of the result rows, the end is last. Of an encoder with self-attention: how much each word
    (row) reads of the others (columns), in each head.
    """
    with show_errors("Can't show attention"):
        if output is not None and output.suffix not in (".html", ".png"):
            raise ValueError(f"'{output}' must end in .html or .png.")
        setup_gpu(use_gpu, silent=True)
        nlp, name = load_attention(model, component)
        maps = map_attention(nlp, name, text)
        if not maps:
            raise ValueError(f"There is no word in {text!r}.")
        if output is None:
            print("\n\n".join(heat_map.to_text() for heat_map in maps))
            return
        if output.suffix == ".png":
            draw_heat_maps(maps, output)
        else:
            output.write_text(render_page(maps), encoding="utf8")
    msg.good(f"Saved {len(maps)} heat maps to {output}")
