"""Show what a pipeline finds in a text."""

from typing import Annotated

import spacy
import typer
from spacy.tokens import Span, Token
from wasabi import msg

HEADER = ("", "token", "lemma", "pos", "tag", "dep", "head", "morphology")
ENTITY_HEADER = ("entity", "label", "probability")


def show_cli(
    pipeline: Annotated[str, typer.Argument(help="Pipeline: name or path")],
    text: Annotated[str, typer.Argument(help="The text")],
) -> None:
    """Print the sentences, tags, lemmas, trees and entities of a text."""
    nlp = spacy.load(pipeline)
    msg.divider(f"{nlp.lang}_{nlp.meta['name']} {nlp.meta['version']}")
    print(", ".join(nlp.pipe_names))
    doc = nlp(text)
    for sent in doc.sents:
        rows = [make_row(token) for token in sent]
        msg.table(rows, header=HEADER, divider=True, max_col=120)
    if doc.has_annotation("ENT_IOB"):
        entities = [make_entity_row(ent) for ent in doc.ents]
        msg.table(entities, header=ENTITY_HEADER, divider=True)


def make_row(token: Token) -> tuple[str, ...]:
    """Make the row of a token. Tokens are numbered from 1 in each sentence."""
    head = "" if token.head == token else f"{token.head.text} ({_number(token.head)})"
    layers = (token.lemma_, token.pos_, token.tag_, token.dep_)
    return (str(_number(token)), token.text, *layers, head, str(token.morph))


def make_entity_row(ent: Span) -> tuple[str, ...]:
    """Make the row of an entity. Only our recogniser gives its probability."""
    probability = ent._.probability if Span.has_extension("probability") else None
    return (ent.text, ent.label_, "" if probability is None else f"{probability:.2f}")


def _number(token: Token) -> int:
    return token.i - token.sent.start + 1


if __name__ == "__main__":
    typer.run(show_cli)
