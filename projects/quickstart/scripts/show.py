"""Put the trained components into one pipeline, and show what it makes of a text."""

from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy import displacy
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import msg

from spacy_rnn.pipeline.attention_html import render_attention

# displaCy's own, which it gives to labels without probabilities only.
COLORS = {"PERSON": "#aa9cfc", "ORG": "#7aecec", "LOC": "#ff9561", "DATE": "#bfe1d9"}

app = typer.Typer(add_completion=False)


@app.command()
def show_cli(
    tagger: Annotated[Path, typer.Argument(help="A trained pipeline with rnn_tagger")],
    ner: Annotated[Path, typer.Argument(help="A trained pipeline with rnn_ner")],
    textcat: Annotated[Path, typer.Argument(help="A trained pipeline with rnn_textcat")],
    text: Annotated[str, typer.Argument(help="The text")],
    pipeline: Annotated[Path, typer.Argument(help="Where to save the pipeline with all")],
    html: Annotated[Path, typer.Argument(help="Where to draw the entities")],
    attention_html: Annotated[
        Path, typer.Argument(help="Where to draw what the classifier's attention looked at")
    ],
) -> None:
    """Tag a text, recognise its entities and its category, print all and draw what can be drawn."""
    nlp = combine(tagger, {"rnn_ner": ner, "rnn_textcat": textcat})
    nlp.to_disk(pipeline)
    doc = nlp(text)
    msg.divider(f"{', '.join(nlp.pipe_names)}, saved in {pipeline}")
    rows = [(token.text, token.tag_, spacy.explain(token.tag_) or "") for token in doc]
    msg.table(rows, header=("token", "tag", "meaning"), divider=True)
    msg.table(get_entities(doc), header=("entity", "label", "probability"), divider=True)
    msg.table(get_categories(doc), header=("category", "probability"), divider=True)
    key = nlp.get_pipe("rnn_textcat").cfg["attention_key"]  # type: ignore[attr-defined]
    for path, page in ((html, draw(doc)), (attention_html, render_attention(doc, key))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf8")
        msg.good(f"Drawn in {path}")


def combine(first: Path, others: dict[str, Path]) -> Language:
    """Load a pipeline, and add components of others.

    first (Path): The pipeline.
    others (dict[str, Path]): The names of the components, and the pipelines they are in.
    RETURNS (Language): The pipeline with all of them.
    """
    nlp = spacy.load(first)
    for name, path in others.items():
        nlp.add_pipe(name, source=spacy.load(path))
    return nlp


def get_categories(doc: Doc) -> list[tuple[str, str]]:
    """Get the categories and their probabilities, the most probable first."""
    ranked = sorted(doc.cats.items(), key=lambda item: -item[1])
    return [(label, f"{probability:.2f}") for label, probability in ranked]


def get_entities(doc: Doc) -> list[tuple[str, str, str]]:
    """Get text, label and probability of each entity."""
    group = doc.spans["rnn_ner"]
    scores = group.attrs["scores"]
    return [
        (ent.text, ent.label_, f"{score:.2f}") for ent, score in zip(group, scores, strict=True)
    ]


def draw(doc: Doc) -> str:
    """Draw the entities with displaCy, as a page with their probabilities beside the labels."""
    entities, colors = [], {}
    for ent, (_, label, score) in zip(doc.spans["rnn_ner"], get_entities(doc), strict=True):
        name = f"{label} {score}"
        entities.append({"start": ent.start_char, "end": ent.end_char, "label": name})
        colors[name] = COLORS.get(label, "#dddddd")
    page = {"text": doc.text, "ents": entities, "title": None}
    return displacy.render(
        page, style="ent", manual=True, page=True, jupyter=False, options={"colors": colors}
    )


if __name__ == "__main__":
    app()
