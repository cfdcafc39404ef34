import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.modules.seq2seq.edit_scripts import apply_script, make_script


@given(st.text(max_size=12), st.text(max_size=12))
def test_a_script_makes_the_target_of_the_source(source, target):
    assert apply_script(make_script(source, target), source) == target


@pytest.mark.parametrize(
    "source, target, other, result",
    [
        ("dogs", "dog", "cats", "cat"),
        ("gelaufen", "laufen", "gefahren", "fahren"),
        ("Running", "run", "SPINNING", "spin"),
        ("London", "London", "PARIS", "Paris"),
        ("NASA", "NASA", "esa", "ESA"),
        ("The", "the", "Cats", "cats"),
        ("McDonalds", "McDonald", "DeGraafs", "DeGraaf"),
        # It does not fit: there is no such ending, or no room for it.
        ("dogs", "dog", "tree", None),
        ("gelaufen", "laufen", "g", None),
    ],
)
def test_a_script_fits_other_strings(source, target, other, result):
    assert apply_script(make_script(source, target), other) == result


def test_case_is_not_part_of_the_tree():
    pairs = [("dogs", "dog"), ("Dogs", "dog"), ("DOGS", "dog"), ("cats", "cat")]
    assert len({make_script(*pair) for pair in pairs}) == 1
    assert make_script("İstanbul", "İstanbul") == make_script("İzmir", "İzmir")


def test_something_else_is_no_script():
    for script in (
        "dog",
        '["lower"]',
        '["small", null]',
        '["lower", "ab"]',
        "[1, 2]",
        '["keep", [1]]',
    ):
        with pytest.raises(ValueError, match=r"no edit script.*spacy init labels"):
            apply_script(script, "")


def test_no_string_breaks_a_script():
    rng = random.Random(0)
    scripts = [make_script(*pair) for pair in [("dogs", "dog"), ("Ging", "gehen"), ("", "x")]]
    for _ in range(2000):
        string = "".join(
            chr(rng.choice([rng.randrange(0x250), rng.randrange(0x110000)])) for _ in range(6)
        )
        for script in scripts:
            found = apply_script(script, string)
            assert found is None or isinstance(found, str)
