"""Show what a trained pipeline makes of a text, and how to use it."""

import sys
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy import displacy
from spacy.tokens import Doc
from wasabi import msg

from spacy_rnn.pipeline.attention_html import render_attention

# displaCy's colours, which it does not use for labels with probabilities.
COLORS = {"PERSON": "#aa9cfc", "ORG": "#7aecec", "LOC": "#ff9561", "DATE": "#bfe1d9"}
NEXT = """Try it on your own text:

    {python}
    >>> import spacy
    >>> nlp = spacy.load("{pipeline}")
    >>> doc = nlp("Could you send my bag to Oslo by Friday?")
    >>> [(ent.text, ent.label_, ent._.probability) for ent in doc.ents]
    >>> doc.cats
    >>> [token.tag_ for token in doc]
"""

app = typer.Typer(add_completion=False)


@app.command()
def show_cli(
    pipeline: Annotated[Path, typer.Argument(help="The trained pipeline")],
    text: Annotated[str, typer.Argument(help="The text")],
    html: Annotated[Path, typer.Argument(help="The page to draw the entities on")],
    attention_html: Annotated[
        Path, typer.Argument(help="The page to draw the classifier's attention on")
    ],
) -> None:
    """Print the tags, entities and categories of a text, and draw its entities and attention."""
    nlp = spacy.load(pipeline)
    doc = nlp(text)
    msg.divider(", ".join(nlp.pipe_names))
    print(text)
    rows = [(token.text, token.tag_, spacy.explain(token.tag_) or "") for token in doc]
    msg.table(rows, header=("token", "tag", "meaning"), divider=True)
    msg.table(get_entities(doc), header=("entity", "label", "probability"), divider=True)
    msg.table(get_categories(doc), header=("category", "probability"), divider=True)
    key = nlp.get_pipe("rnn_textcat").attention_key  # type: ignore[attr-defined]
    for path, page in ((html, draw(doc)), (attention_html, render_attention(doc, key))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf8")
    msg.divider("Done")
    msg.good(f"Pipeline: {pipeline.resolve()} ({get_size(pipeline):.0f} MB)")
    msg.good(f"Entities: {html.resolve()}")
    msg.good(f"Attention: {attention_html.resolve()}")
    print(NEXT.format(python=sys.executable, pipeline=pipeline.resolve()))


def get_categories(doc: Doc) -> list[tuple[str, str]]:
    """Get the categories and their probabilities, the most probable first."""
    ranked = sorted(doc.cats.items(), key=lambda item: -item[1])
    return [(label, f"{probability:.2f}") for label, probability in ranked]


def get_entities(doc: Doc) -> list[tuple[str, str, str]]:
    """Get text, label and probability of each entity."""
    return [(ent.text, ent.label_, f"{ent._.probability:.2f}") for ent in doc.ents]


def get_size(path: Path) -> float:
    """Get the size of a directory in megabytes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6


def draw(doc: Doc) -> str:
    """Draw the entities with displaCy, as a page with their probabilities beside the labels."""
    entities, colors = [], {}
    for ent, (_, label, score) in zip(doc.ents, get_entities(doc), strict=True):
        name = f"{label} {score}"
        entities.append({"start": ent.start_char, "end": ent.end_char, "label": name})
        colors[name] = COLORS.get(label, "#dddddd")
    page = {"text": doc.text, "ents": entities, "title": None}
    return displacy.render(
        page, style="ent", manual=True, page=True, jupyter=False, options={"colors": colors}
    )


if __name__ == "__main__":
    app()
