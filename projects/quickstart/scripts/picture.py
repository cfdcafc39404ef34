"""Draw the entities of a text as a picture, for pages that can't show displaCy's HTML."""

from html import escape
from pathlib import Path
from typing import Annotated

import spacy
import typer
from show import COLORS, get_entities
from spacy.tokens import Doc
from wasabi import msg

# Pixels: of a character in letters of one width, which are drawn as wide as this says.
CHAR, SMALL = 9, 6.5
HEIGHT, PAD = 40, 8

app = typer.Typer(add_completion=False)


@app.command()
def picture_cli(
    pipeline: Annotated[Path, typer.Argument(help="A trained pipeline with rnn_ner")],
    text: Annotated[str, typer.Argument(help="The text, which is drawn on one line")],
    output: Annotated[Path, typer.Argument(help="The SVG file to write")],
) -> None:
    """Draw the entities of a text with their labels and probabilities as an SVG file."""
    output.write_text(draw(spacy.load(pipeline)(text)), encoding="utf8")
    msg.good(f"Drawn in {output}")


def draw(doc: Doc) -> str:
    """Draw a Doc with entities as SVG."""
    parts: list[str] = []
    x, end = float(PAD), 0
    for ent, (text, label, score) in zip(doc.ents, get_entities(doc), strict=True):
        x = _add_text(parts, doc.text[end : ent.start_char], x, CHAR)
        width = len(text) * CHAR + len(f"{label} {score}") * SMALL + 3 * PAD
        color = COLORS.get(label, "#dddddd")
        parts.append(f'<rect x="{x}" y="6" width="{width}" height="28" rx="5" fill="{color}"/>')
        x = _add_text(parts, text, x + PAD, CHAR) + PAD
        x = _add_text(parts, f"{label} {score}", x, SMALL) + PAD
        end = ent.end_char
    x = _add_text(parts, doc.text[end:], x, CHAR) + PAD
    size = f'width="{x}" height="{HEIGHT}" viewBox="0 0 {x} {HEIGHT}"'
    style = 'font-family="monospace" fill="#222222" xml:space="preserve"'
    back = f'<rect width="{x}" height="{HEIGHT}" fill="#ffffff"/>'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', back, *parts, "</svg>"]
    return "\n".join(lines) + "\n"


def _add_text(parts: list[str], text: str, x: float, char: float) -> float:
    """Add a text, and get where it ends."""
    # Spaces at its ends are room that nothing has to be drawn in.
    before = x + char * (len(text) - len(text.lstrip()))
    shown = text.strip()
    if shown:
        width = char * len(shown)
        parts.append(
            f'<text x="{before}" y="25" font-size="{char / 0.6:.1f}" textLength="{width}" '
            f'lengthAdjust="spacingAndGlyphs">{escape(shown)}</text>'
        )
    return x + char * len(text)


if __name__ == "__main__":
    app()
