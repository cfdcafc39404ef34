"""With a line break behind each gold entity, the recogniser joined the next line's word to it: what
training allowed, prediction did not.
"""

import warnings

import numpy
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import fix_random_seed

from spacy_rnn.modules.crf.tagging_scheme import TaggingScheme
from spacy_rnn.pipeline.entity_tags import get_agreeing, get_allowed, get_learnable_ner

DATA = [
    ("Name: Lena Osei\nCity: Graz\n", [(6, 16, "PER"), (22, 27, "LOC")]),
    ("Name: Tomas Brandt\nCity: Porto\n", [(6, 19, "PER"), (25, 31, "LOC")]),
]


def make_example(nlp, text, entities):
    return Example.from_dict(nlp.make_doc(text), {"entities": entities})


def test_entities_are_learned_without_it():
    fix_random_seed(0)
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_ner")
    examples = [make_example(nlp, text, entities) for text, entities in DATA]
    optimizer = nlp.initialize(lambda: examples)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(40):
            nlp.update(examples, drop=0.1, sgd=optimizer)
    messages = [str(warning.message) for warning in caught if "white space" in str(warning.message)]
    assert len(messages) == 1 and r"'Lena Osei\n' (PER)" in messages[0]
    doc = nlp(DATA[0][0])
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Lena Osei", "PER"), ("Graz", "LOC")]


@pytest.mark.parametrize(
    "words, tags, expected",
    [
        (["\n", "Ada", "\n"], ["B-X", "I-X", "I-X"], ["O", "U-X", "O"]),
        (["Ada", "\n", "Osei", " "], ["B-X", "I-X", "I-X", "I-X"], ["B-X", "I-X", "L-X", "O"]),
        (["a", "\n", "b"], ["O", "B-X", "O"], ["O", "O", "O"]),
        (["a", "\n", "b"], ["", "B-X", ""], [None, "O", None]),
    ],
)
def test_white_space_is_cut_off(words, tags, expected):
    vocab = spacy.blank("xx").vocab
    spaces = [False] * len(words)
    predicted = Doc(vocab, words=words, spaces=spaces)
    example = Example(predicted, Doc(vocab, words=words, spaces=spaces, ents=tags))
    assert get_learnable_ner(example) == expected


@pytest.mark.parametrize("seed", range(20))
def test_gold_and_prediction_allow_the_same(seed):
    rng = numpy.random.default_rng(seed)
    vocab, n_words = spacy.blank("xx").vocab, 12
    words = [str(rng.choice(["a", "b", "\n"])) for _ in range(n_words)]
    starts = [True, *(bool(rng.random() < 0.2) for _ in words[1:])]
    predicted = Doc(vocab, words=words, spaces=[False] * n_words, sent_starts=starts)
    tags, inside = [], False
    for _ in words:
        inside = bool(rng.random() < (0.7 if inside else 0.4))
        tags.append(("I-X" if tags and tags[-1] != "O" else "B-X") if inside else "O")
    example = Example(predicted, Doc(vocab, words=words, spaces=[False] * n_words, ents=tags))
    scheme = TaggingScheme("biluo", 1)
    allowed = get_allowed([predicted], scheme, ["X"])
    agreeing = get_agreeing([example], scheme, ["X"])
    is_known = agreeing.sum(axis=1) == 1
    assert is_known.any() and allowed[is_known][agreeing[is_known]].all()
