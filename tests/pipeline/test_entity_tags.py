"""What annotation says of predicted tokens."""

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_rnn.pipeline.entity_tags import get_aligned_ner

VOCAB = spacy.blank("xx").vocab
WORDS = ["Anna", "in", "New", "York", "."]


@given(st.lists(st.sampled_from(WORDS), max_size=8), st.data())
def test_the_fast_way_is_spacys(words, data):
    reference = Doc(VOCAB, words=words)
    ends = data.draw(st.lists(st.integers(0, len(words)), unique=True).map(sorted))
    spans = [
        Span(reference, start, end, label=data.draw(st.sampled_from(["PER", "LOC"])))
        for start, end in zip(ends[::2], ends[1::2], strict=False)
    ]
    rest = [reference[i : i + 1] for i in range(len(words))]
    rest = [one for one in rest if not any(s.start <= one.start < s.end for s in spans)]
    blocked, missing, outside = [], [], []
    for one in rest:
        data.draw(st.sampled_from([blocked, missing, outside])).append(one)
    reference.set_ents(spans, blocked=blocked, missing=missing, outside=outside, default="outside")
    spaces = data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
    example = Example(Doc(VOCAB, words=words, spaces=spaces), reference)
    expected = example.get_aligned_ner()
    assert get_aligned_ner(example) == expected


@pytest.mark.parametrize(
    "predicted, annotated",
    [(["New York", "."], ["New", "York", "."]), (["New", " ", "York"], ["New", " ", "York"])],
)
def test_other_tokens_and_white_space_are_as_in_spacy(predicted, annotated):
    reference = Doc(VOCAB, words=annotated, spaces=[False] * len(annotated))
    reference.set_ents([Span(reference, 0, 1, label="LOC")], missing=[reference[1:2]])
    example = Example(Doc(VOCAB, words=predicted, spaces=[False] * len(predicted)), reference)
    assert get_aligned_ner(example) == example.get_aligned_ner()


def test_nothing_annotated():
    doc = Doc(VOCAB, words=WORDS)
    assert get_aligned_ner(Example(doc, Doc(VOCAB, words=WORDS))) == [None] * len(WORDS)
