from pathlib import Path

import typer
from spacy.cli._util import setup_gpu
from wasabi import msg

from ..probing.alignments import draw_alignments, load_transducer
from ..probing.attention_map import draw_png, render_page
from ._util import GpuOpt, show_errors


def attention_cli(
    model: str = typer.Argument(..., help="Pipeline with a lemmatizer: name or path"),
    text: str = typer.Argument(..., help="Words to decode"),
    component: str | None = typer.Option(
        None, "--component", "-c", help="Name of the component: an rnn_lemmatizer or rnn_transducer"
    ),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="HTML or PNG file, by its suffix. A PNG needs matplotlib"
    ),
    use_gpu: GpuOpt = -1,
) -> None:
    """Show what the decoder looks at when it writes each character: the characters of the word are
    columns, the characters of the result rows. The last column and the last row are the end.
    """
    with show_errors("Can't show attention"):
        if output is not None and output.suffix not in (".html", ".png"):
            raise ValueError(f"'{output}' must end in .html or .png.")
        setup_gpu(use_gpu, silent=True)
        nlp, name = load_transducer(model, component)
        maps = draw_alignments(nlp, name, text)
        if not maps:
            raise ValueError(f"There is no word to decode in {text!r}.")
        if output is None:
            print("\n\n".join(heat_map.to_text() for heat_map in maps))
            return
        if output.suffix == ".png":
            draw_png(maps, output)
        else:
            output.write_text(render_page(maps), encoding="utf8")
    msg.good(f"Saved the attention of {len(maps)} words to {output}")
