"""Texts with the words highlighted that a text classifier looked at."""

from collections.abc import Iterable
from html import escape

import numpy
from spacy.tokens import Doc

# The colour of the highest weight of a text
_RGB = "9, 163, 213"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Attention</title></head>
<body style="font: 16px sans-serif; padding: 2rem; line-height: 1.8">
{}
</body>
</html>
"""


def render_attention(docs: Doc | Iterable[Doc], key: str, *, page: bool = True) -> str:
    """Draw texts as HTML, each word highlighted by its weight. The highest of a text has the full
    colour. Of several heads, the mean is drawn.

    docs (Union[Doc, Iterable[Doc]]): What a text classifier has processed.
    key (str): Its `attention_key`.
    page (bool): Whether to make a whole page of it, or only the figures.
    RETURNS (str): The HTML.
    RAISES (ValueError): If a Doc has no weights there.
    """
    figures = [_render(doc, key) for doc in ([docs] if isinstance(docs, Doc) else docs)]
    html = "\n".join(figures)
    return _PAGE.format(html) if page else html


def _render(doc: Doc, key: str) -> str:
    if key not in doc.user_data:
        raise ValueError(
            f"There are no weights in doc.user_data[{key!r}] of {doc.text[:60]!r}: set the text "
            f"classifier's attention_key = {key!r} and process the text with it."
        )
    weights = numpy.asarray(doc.user_data[key]).mean(axis=1)
    largest = max(weights.max(initial=0.0), 1e-12)
    words = []
    for token, weight in zip(doc, weights, strict=True):
        style = f"background: rgba({_RGB}, {weight / largest:.2f}); border-radius: 0.2em"
        mark = f'<mark style="{style}" title="{weight:.3f}">{escape(token.text)}</mark>'
        words.append(mark + escape(token.whitespace_))
    cats = sorted(doc.cats.items(), key=lambda item: -item[1])[:3]
    caption = ", ".join(f"{escape(label)} {score:.2f}" for label, score in cats)
    return f"<figure>{''.join(words)}<figcaption>{caption}</figcaption></figure>"
