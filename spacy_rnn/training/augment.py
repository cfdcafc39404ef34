"""Augmentation of training data for entity recognisers."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import NamedTuple

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import registry
from thinc.util import partial

from ..layers.settings import check_share

Augmenter = Callable[[Language, Example], Iterator[Example]]


class Mention(NamedTuple):
    """How an entity is named.

    words (Tuple[str, ...]): The tokens.
    spaces (Tuple[bool, ...]): Whether there is a space between each and the next.
    """

    words: tuple[str, ...]
    spaces: tuple[bool, ...]


class MentionPool:
    """The distinct mentions of each label that were read so far."""

    def __init__(self) -> None:
        self._mentions: dict[str, list[Mention]] = defaultdict(list)
        self._known: set[tuple[str, Mention]] = set()

    def add(self, ent: Span) -> None:
        """Keep a mention.

        ent (Span): The entity.
        """
        words = tuple(token.text for token in ent)
        mention = Mention(words, tuple(bool(token.whitespace_) for token in ent[:-1]))
        if (ent.label_, mention) not in self._known:
            self._known.add((ent.label_, mention))
            self._mentions[ent.label_].append(mention)

    def choose(self, label: str) -> Mention:
        """RETURNS (Mention): A random one. Each is equally probable, however often it was read."""
        return random.choice(self._mentions[label])


@registry.augmenters("spacy-rnn.replace_mentions.v1")
def create_mention_replacer(level: float) -> Augmenter:
    """Replace mentions of entities by others of the same label that were read before ("mention
    replacement": Dai & Adel 2020), so that a recogniser learns what may stand in a context, and
    sees rare names more often than the data has them.

    Of a text that is changed there are its entities, its categories and the starts of its
    sentences; other annotation is missing. Texts with span groups, such as incorrect spans, are
    left as they are.

    level (float): The share of mentions that are replaced, from 0 to 1.
    RETURNS (Callable[[Language, Example], Iterator[Example]]): The augmenter.
    """
    check_share("level", level)
    return partial(replace_mentions, MentionPool(), level)


def replace_mentions(
    pool: MentionPool, level: float, nlp: Language, example: Example
) -> Iterator[Example]:
    """Replace some mentions of an example.

    pool (MentionPool): What to choose from. The example's mentions are added.
    level (float): The share of mentions that are replaced.
    nlp (Language): The pipeline, whose tokenizer reads the new text.
    example (Example): The example.
    YIELDS (Example): A changed example, or the same one.
    """
    reference = example.reference
    for ent in reference.ents:
        pool.add(ent)
    replaced = {ent.start: ent for ent in reference.ents if random.random() < level}
    if not replaced or reference.spans:
        yield example
        return
    rows: list[tuple[str, bool, str, bool | None]] = []
    end = 0
    for token in reference:
        starts = token.is_sent_start
        if token.i in replaced:
            ent = replaced[token.i]
            words, inner = pool.choose(ent.label_)
            end = ent.end
            later = None if starts is None else False
            rows += zip(
                words,
                (*inner, bool(ent[-1].whitespace_)),
                (f"B-{ent.label_}", *repeat(f"I-{ent.label_}", len(inner))),
                (starts, *repeat(later, len(inner))),
                strict=True,
            )
        elif token.i >= end:
            tag = f"{token.ent_iob_}-{token.ent_type_}".rstrip("-")
            rows.append((token.text, bool(token.whitespace_), tag, starts))
    yield _make_example(nlp, rows, reference)


def _make_example(
    nlp: Language, rows: list[tuple[str, bool, str, bool | None]], original: Doc
) -> Example:
    words, spaces, ents, sent_starts = map(list, zip(*rows, strict=True))
    # As spaCy's corpus reader does: without spaces there is no text that could be tokenized.
    known = None if original.has_unknown_spaces else spaces
    doc = Doc(nlp.vocab, words=words, spaces=known, ents=ents, sent_starts=sent_starts)
    doc.cats = dict(original.cats)
    predicted = nlp.make_doc(doc.text) if known else Doc(nlp.vocab, words=words)
    return Example(predicted, doc)
