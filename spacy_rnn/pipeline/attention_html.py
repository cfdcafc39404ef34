"""Texts with the words highlighted that a text classifier's attention looked at."""

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


def render_attention(
    docs: Doc | Iterable[Doc],
    key: str,
    *,
    labels: Iterable[str] | None = None,
    page: bool = True,
) -> str:
    """Draw texts as HTML, each word highlighted by its weight. The highest of a text has the full
    colour. Of several heads, the mean is drawn.

    The weights say what the attention looked at. With other poolings beside it, or a linear
    model that votes, other words may have decided.

    docs (Union[Doc, Iterable[Doc]]): What a text classifier has processed.
    key (str): Its `attention_key`.
    labels (Optional[Iterable[str]]): The labels of which the most probable are written below. None
        takes all in `doc.cats`.
    page (bool): Whether to make a whole page of it, or only the figures.
    RETURNS (str): The HTML.
    RAISES (ValueError): If a Doc has no weights there.
    """
    shown = None if labels is None else set(labels)
    figures = [_render(doc, key, shown) for doc in ([docs] if isinstance(docs, Doc) else docs)]
    html = "\n".join(figures)
    return _PAGE.format(html) if page else html


def _render(doc: Doc, key: str, labels: set[str] | None) -> str:
    if key not in doc.user_data:
        raise ValueError(
            f"There are no weights in doc.user_data[{key!r}] of {doc.text[:60]!r}: set "
            f'nlp.get_pipe("rnn_textcat").cfg["attention_key"] = {key!r} and process the text.'
        )
    weights = numpy.asarray(doc.user_data[key]).mean(axis=1)
    largest = max(weights.max(initial=0.0), 1e-12)
    words = []
    for token, weight in zip(doc, weights, strict=True):
        style = f"background: rgba({_RGB}, {weight / largest:.2f}); border-radius: 0.2em"
        mark = f'<mark style="{style}" title="{weight:.3f}">{escape(token.text)}</mark>'
        words.append(mark + escape(token.whitespace_))
    cats = [(label, p) for label, p in doc.cats.items() if labels is None or label in labels]
    best = sorted(cats, key=lambda item: -item[1])[:3]
    caption = ", ".join(f"{escape(label)} {probability:.2f}" for label, probability in best)
    return f"<figure>{''.join(words)}<figcaption>{caption}</figcaption></figure>"
