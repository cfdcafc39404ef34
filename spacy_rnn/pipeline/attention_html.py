"""Texts as HTML with words highlighted by their attention weights."""

from bisect import bisect_left
from collections.abc import Iterable
from html import escape

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
    """Render texts as HTML, with each word highlighted by its weight relative to the highest of the
    text. Of several heads, the mean is shown. If the model has other poolings too, or a linear
    model, other words may have decided.

    docs (Union[Doc, Iterable[Doc]]): Docs that a text classifier has processed.
    key (str): Its `attention_key`.
    labels (Optional[Iterable[str]]): The most probable of these labels are shown below a text. None
        takes all in `doc.cats`.
    page (bool): Whether to return a whole page, or only the figures.
    RETURNS (str): The HTML.
    RAISES (ValueError): If a Doc has no weights there.
    """
    shown = None if labels is None else set(labels)
    figures = [_render(doc, key, shown) for doc in ([docs] if isinstance(docs, Doc) else docs)]
    html = "\n".join(figures)
    return _PAGE.format(html) if page else html


def _render(doc: Doc, key: str, labels: set[str] | None) -> str:
    weights = _get_weights(doc, key)
    largest = max([*weights, 1e-12])
    words = []
    for token, weight in zip(doc, weights, strict=True):
        style = f"background: rgba({_RGB}, {weight / largest:.2f}); border-radius: 0.2em"
        mark = f'<mark style="{style}" title="{weight:.3f}">{escape(token.text)}</mark>'
        words.append(mark + escape(token.whitespace_))
    cats = [(label, p) for label, p in doc.cats.items() if labels is None or label in labels]
    best = sorted(cats, key=lambda item: -item[1])[:3]
    caption = ", ".join(f"{escape(label)} {probability:.2f}" for label, probability in best)
    return f"<figure>{''.join(words)}<figcaption>{caption}</figcaption></figure>"


def _get_weights(doc: Doc, key: str) -> list[float]:
    """RETURNS (List[float]): The weight of each token. A merged token has the sum of its parts; a
    split one the weight of the token that it was part of.
    """
    stored = sorted(
        (place[2], weight)
        for place, weight in doc.user_data.items()
        if isinstance(place, tuple) and place[:2] == ("._.", key) and place[2] is not None
    )
    if not stored and len(doc):
        raise ValueError(
            f"There are no weights for {key!r} in the Doc {doc.text[:60]!r}: set "
            f'nlp.get_pipe("rnn_textcat").attention_key = {key!r} and process the text. For a Doc '
            "made of another one, copy that one's user_data."
        )
    starts = [start for start, _ in stored]
    weights = []
    for token in doc:
        first = bisect_left(starts, token.idx)
        end = bisect_left(starts, token.idx + len(token))
        if first == end and first:
            first -= 1
        weights.append(sum(weight for _, weight in stored[first:end]))
    return weights
