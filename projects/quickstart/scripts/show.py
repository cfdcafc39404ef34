"""Put the trained components into one pipeline, and show what it makes of a text."""

from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy import displacy
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import msg

# displaCy's own, which it gives to labels without probabilities only.
COLORS = {"PERSON": "#aa9cfc", "ORG": "#7aecec", "LOC": "#ff9561", "DATE": "#bfe1d9"}

app = typer.Typer(add_completion=False)


@app.command()
def show_cli(
    tagger: Annotated[Path, typer.Argument(help="A trained pipeline with rnn_tagger")],
    ner: Annotated[Path, typer.Argument(help="A trained pipeline with rnn_ner")],
    text: Annotated[str, typer.Argument(help="The text")],
    pipeline: Annotated[Path, typer.Argument(help="Where to save the pipeline with both")],
    html: Annotated[Path, typer.Argument(help="Where to draw the entities")],
) -> None:
    """Tag a text, recognise its entities, print both and draw the entities."""
    nlp = combine(tagger, ner)
    nlp.to_disk(pipeline)
    doc = nlp(text)
    msg.divider(f"{' and '.join(nlp.pipe_names)}, saved in {pipeline}")
    rows = [(token.text, token.tag_, spacy.explain(token.tag_) or "") for token in doc]
    msg.table(rows, header=("token", "tag", "meaning"), divider=True)
    msg.table(get_entities(doc), header=("entity", "label", "probability"), divider=True)
    html.parent.mkdir(parents=True, exist_ok=True)
    html.write_text(draw(doc), encoding="utf8")
    msg.good(f"Drawn in {html}")


def combine(tagger: Path, ner: Path) -> Language:
    """Load a pipeline with a tagger, and add the recogniser of another."""
    nlp = spacy.load(tagger)
    nlp.add_pipe("rnn_ner", source=spacy.load(ner))
    return nlp


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
