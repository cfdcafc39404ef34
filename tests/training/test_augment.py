import random
from collections import Counter
from itertools import chain

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Corpus, Example
from spacy.util import registry

NLP = spacy.blank("en")
# Tokens of no entity or not annotated, and entities by label and length.
PARTS = st.sampled_from(["O", "", ("PER", 1), ("PER", 3), ("ORG", 1), ("ORG", 2)])
TAGS = st.lists(PARTS, min_size=1, max_size=8).map(
    lambda parts: list(chain.from_iterable(map(make_tags, parts)))
)


def make_tags(part):
    if isinstance(part, str):
        return [part]
    label, length = part
    return [f"B-{label}", *[f"I-{label}"] * (length - 1)]


def make_replacer(level):
    return registry.augmenters.get("spacy-rnn.replace_mentions.v1")(level)


def make_example(words, tags, **annotation):
    reference = Doc(NLP.vocab, words=words, ents=tags, **annotation)
    return Example(Doc(NLP.vocab, words=words), reference)


def get_contexts(doc):
    """What is between the entities, and their labels."""
    contexts, end = [], 0
    for ent in doc.ents:
        contexts += [[(t.text, t.ent_iob_, t.is_sent_start) for t in doc[end : ent.start]]]
        contexts += [ent.label_]
        end = ent.end
    return [*contexts, [(t.text, t.ent_iob_, t.is_sent_start) for t in doc[end:]]]


@settings(deadline=None)
@given(st.lists(TAGS, min_size=1, max_size=6), st.floats(0, 1))
def test_only_mentions_change_for_others_of_their_label(batches, level):
    augment, seen = make_replacer(level), set()
    for n, tags in enumerate(batches):
        words = [f"w{n}.{i}" for i in range(len(tags))]
        example = make_example(words, tags, sent_starts=[i % 3 == 0 for i in range(len(tags))])
        seen.update((ent.label_, ent.text) for ent in example.reference.ents)
        (found,) = augment(NLP, example)
        assert get_contexts(found.reference) == get_contexts(example.reference)
        assert {(ent.label_, ent.text) for ent in found.reference.ents} <= seen
        assert [t.text for t in found.predicted] == [t.text for t in found.reference]
        assert not found.predicted.ents


def test_distinct_mentions_are_equally_probable():
    augment = make_replacer(0.5)
    names = ["Ann"] * 9 + ["Bob"]
    for name in names:
        list(augment(NLP, make_example([name, "sings"], ["B-PER", "O"])))
    counts = Counter()
    random.seed(0)
    for _ in range(2000):
        (found,) = augment(NLP, make_example(["Eve", "sings"], ["B-PER", "O"]))
        counts[found.reference[0].text] += 1
    assert counts["Ann"] + counts["Bob"] == pytest.approx(2000 / 3, rel=0.2)
    assert counts["Ann"] == pytest.approx(counts["Bob"], rel=0.2)


def test_texts_are_tokenized_again_where_they_are_known():
    augment = make_replacer(1.0)
    spaces = [True, False, True, True, False]
    words, tags = ["From", "St", ".", "Ives", "!"], ["O", "B-LOC", "I-LOC", "I-LOC", "O"]
    list(augment(NLP, make_example(words, tags, spaces=spaces)))
    example = make_example(["In", "Rome", "?"], ["O", "B-LOC", "O"], spaces=[True, False, False])
    example.reference.cats = {"travel": 1.0}
    texts = set()
    for _ in range(20):
        (found,) = augment(NLP, example)
        texts.add(found.reference.text)
        assert found.reference.cats == {"travel": 1.0}
        assert found.predicted.text == found.reference.text
        assert [t.text for t in found.predicted] == [t.text for t in NLP(found.predicted.text)]
    assert texts == {"In Rome?", "In St. Ives?"}


def test_what_cannot_be_kept_is_left_alone():
    augment = make_replacer(1.0)
    example = make_example(["Ann", "sings"], ["B-PER", "O"])
    example.reference.spans["incorrect"] = [Span(example.reference, 1, 2, "PER")]
    assert next(augment(NLP, example)) is example
    without = make_example(["She", "sings"], ["O", "O"])
    assert next(augment(NLP, without)) is without
    with pytest.raises(ValueError, match="level"):
        make_replacer(1.5)


def test_corpus_reader(tmp_path):
    docs = [make_example([name, "sings"], ["B-PER", "O"]).reference for name in ("Ann", "Bob")]
    DocBin(docs=docs).to_disk(tmp_path / "train.spacy")
    corpus = Corpus(tmp_path / "train.spacy", augmenter=make_replacer(1.0))
    names = {eg.reference[0].text for _ in range(20) for eg in corpus(NLP)}
    assert names == {"Ann", "Bob"}
