from spacy_rnn.pipeline.string_table import build_table, look_up

PAIRS = [
    (("dogs", "NOUN", "Number=Plur"), "dog"),
    (("dogs", "VERB", "Person=3"), "dog"),
    (("leaves", "NOUN", "Number=Plur"), "leaf"),
    (("leaves", "VERB", "Person=3"), "leave"),
    (("left", "VERB", "Tense=Past"), "leave"),
    (("left", "VERB", "VerbForm=Inf"), "left"),
    (("saw", "VERB", "Tense=Past"), "see"),
    (("saw", "VERB", "Tense=Past"), "saw"),
]


def test_what_is_unambiguous_is_found():
    table = build_table(PAIRS)
    expected = {
        ("dogs", "", ""): "dog",
        ("dogs", "NOUN", ""): "dog",
        # Never seen with it.
        ("dogs", "ADJ", ""): None,
        ("leaves", "", ""): None,
        ("leaves", "NOUN", "Number=Sing"): "leaf",
        ("leaves", "VERB", ""): "leave",
        # The features decide.
        ("left", "VERB", "Tense=Past"): "leave",
        ("left", "VERB", "VerbForm=Inf"): "left",
        ("left", "VERB", ""): None,
        ("left", "", ""): None,
        # Nothing does.
        ("saw", "VERB", "Tense=Past"): None,
        ("saw", "", ""): None,
        ("cats", "NOUN", ""): None,
    }
    assert {key: look_up(table, key) for key in expected} == expected
