"""Docstrings in spaCy's manner become Sphinx's fields."""

import sys

from ..conftest import ROOT

sys.path.insert(0, str(ROOT / "docs"))
from spacy_docstrings import to_fields

DOCSTRING = """Find entities: all of them.

Longer text (with brackets): of two
lines.

docs (Iterable[Doc]): The Docs,
    on two lines.
low, high (Optional[int]): Limits.
RETURNS (List[List[Tuple[int, int]]]): For each Doc
    its entities.
RAISES (ValueError): If there are none.
"""


def test_fields():
    text, fields = "\n".join(to_fields(DOCSTRING.splitlines())).split("\n\n\n")
    assert text == "\n".join(DOCSTRING.splitlines()[:4])
    assert fields.splitlines() == [
        ":type docs: Iterable[Doc]",
        ":param docs: The Docs, on two lines.",
        ":type low,high: Optional[int]",
        ":param low,high: Limits.",
        ":returns: *List[List[Tuple[int, int]]]* \u2013 For each Doc its entities.",
        ":raises ValueError: If there are none.",
    ]


def test_only_code_has_markup():
    line = "With lm_ and *args, `doc._.x_` and `*args` stay."
    assert to_fields([line])[0] == r"With lm\_ and \*args, `doc._.x_` and `*args` stay."


def test_a_docstring_without_fields_stays():
    assert to_fields(["Do nothing: it is done."])[0] == "Do nothing: it is done."
