"""From texts to JSON. Change `to_dict`, and the models in `schema.py`, to serve more of a Doc."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic_core import to_json
from spacy.language import Language
from spacy.tokens import Doc, Span

logger = logging.getLogger("uvicorn.error")


class Answer(NamedTuple):
    """What to send for a text.

    is_ok (bool): Whether the pipeline worked.
    body (bytes): JSON: the analysis or the error.
    """

    is_ok: bool
    body: bytes


def analyse(nlp: Language, texts: Sequence[str]) -> list[Answer]:
    """Run the pipeline on texts, within a memory zone: without one, the vocab keeps every new word.
    spaCy allows one memory zone at a time, so only one thread may call this.

    A text on which the pipeline fails does not affect the others. An exception ends the stream of
    `nlp.pipe`, so the texts without an answer run again, one by one.

    nlp (Language): The pipeline.
    texts (Sequence[str]): The texts.
    RETURNS (List[Answer]): An answer for each text.
    """
    answers: dict[int, Answer] = {}
    with nlp.memory_zone():
        try:
            stream = nlp.pipe(
                ((text, i) for i, text in enumerate(texts)), as_tuples=True, batch_size=len(texts)
            )
            for doc, i in stream:
                answers[i] = Answer(True, to_json(to_dict(doc)))
        except Exception:
            logger.warning("A batch of %d texts failed: they run one by one", len(texts))
        for i, text in enumerate(texts):
            if i not in answers:
                answers[i] = _analyse_one(nlp, text)
    return [answers[i] for i in range(len(texts))]


def _analyse_one(nlp: Language, text: str) -> Answer:
    try:
        return Answer(True, to_json(to_dict(nlp(text))))
    except Exception as err:
        logger.exception("The pipeline failed on a text of %d characters", len(text))
        return Answer(False, to_json({"error": f"The pipeline failed: {type(err).__name__}"}))


def to_dict(doc: Doc) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What to serve of a Doc: an `Analysis`."""
    has_tags, has_lemmas = doc.has_annotation("TAG"), doc.has_annotation("LEMMA")
    tokens = []
    for token in doc:
        entry = {"text": token.text}
        if has_tags:
            entry["tag"] = token.tag_
        if has_lemmas:
            entry["lemma"] = token.lemma_
        tokens.append(entry)
    return {"tokens": tokens, "ents": [_entity_to_dict(ent) for ent in doc.ents], "cats": doc.cats}


def _entity_to_dict(ent: Span) -> dict[str, Any]:
    entry = {"start_char": ent.start_char, "end_char": ent.end_char, "label": ent.label_}
    # Our recogniser sets it, spaCy's has none.
    if ent.has_extension("probability") and ent._.probability is not None:
        entry["probability"] = float(ent._.probability)
    return entry
