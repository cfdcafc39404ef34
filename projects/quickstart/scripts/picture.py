"""Draw what a trained pipeline makes of a text, for pages that can't show HTML."""

from html import escape
from pathlib import Path
from typing import Annotated

import spacy
import typer
from show import COLORS, get_categories, get_entities
from spacy.tokens import Doc
from wasabi import msg

# Pixels. Text has a fixed width, so that every viewer draws it alike.
CHAR, SMALL = 9.0, 6.5
PAD, GAP, LINE, WIDTH = 8.0, 12.0, 66.0, 880.0

app = typer.Typer(add_completion=False)


@app.command()
def picture_cli(
    pipeline: Annotated[Path, typer.Argument(help="The trained pipeline")],
    text: Annotated[str, typer.Argument(help="The text")],
    output: Annotated[Path, typer.Argument(help="The SVG file to write")],
) -> None:
    """Draw a text with its entities, tags, category and attention as an SVG file."""
    nlp = spacy.load(pipeline)
    key = nlp.get_pipe("rnn_textcat").attention_key  # type: ignore[attr-defined]
    output.write_text(draw(nlp(text), key), encoding="utf8")
    msg.good(f"Drawn in {output}")


def draw(doc: Doc, attention_key: str) -> str:
    """Draw a Doc as SVG: its entities and their probabilities, below each word a bar for its
    attention weight and the tag, and the categories at the end.
    """
    parts: list[str] = []
    weights = doc.user_data[attention_key].mean(axis=1)
    opacities = weights / weights.max()
    x, y = PAD, PAD
    entities = {
        ent.start: (ent, f"{label} {score}")
        for ent, (_, label, score) in zip(doc.ents, get_entities(doc), strict=True)
    }
    for token in doc:
        if token.ent_iob_ == "I":
            continue
        ent, name = entities.get(token.i, (doc[token.i : token.i + 1], ""))
        widths = [max(len(t) * CHAR, len(t.tag_) * SMALL) for t in ent]
        width = sum(widths) + CHAR * (len(ent) - 1)
        full = width + (len(name) * SMALL + 3 * PAD if name else 0)
        if x + full > WIDTH - PAD:
            x, y = PAD, y + LINE
        if name:
            color = COLORS.get(ent.label_, "#dddddd")
            parts.append(
                f'<rect x="{x}" y="{y}" width="{full}" height="28" rx="5" fill="{color}"/>'
            )
            _add_text(parts, name, x + width + 2 * PAD, y + 19, SMALL)
        left = x + (PAD if name else 0)
        for t, t_width in zip(ent, widths, strict=True):
            _add_text(parts, t.text, left, y + 19, CHAR)
            _add_text(parts, t.tag_, left, y + 46, SMALL, "#777777")
            parts.append(
                f'<rect x="{left}" y="{y + 30}" width="{len(t.text) * CHAR}" height="4" '
                f'fill="#09a3d5" fill-opacity="{opacities[t.i]:.2f}"/>'
            )
            left += t_width + CHAR
        x += full + (GAP if ent[-1].whitespace_ or name else 2)
    best, *others = (f"{label} {probability}" for label, probability in get_categories(doc))
    _add_text(parts, best, PAD, y + LINE + 14, CHAR)
    _add_text(parts, ", ".join(others), 3 * PAD + len(best) * CHAR, y + LINE + 14, CHAR, "#777777")
    height = y + LINE + 28
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    back = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace">'
    return "\n".join([head, back, *parts, "</svg>"]) + "\n"


def _add_text(
    parts: list[str], text: str, x: float, y: float, char: float, color: str = "#222222"
) -> None:
    """Add a text whose characters are `char` pixels wide."""
    parts.append(
        f'<text x="{x}" y="{y}" font-size="{char / 0.6:.1f}" fill="{color}" '
        f'textLength="{char * len(text)}" lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
    )


if __name__ == "__main__":
    app()
