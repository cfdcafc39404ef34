"""The architecture of parsers."""

import pytest
import spacy


@pytest.mark.parametrize("name", ["arc_width", "label_width"])
@pytest.mark.parametrize("value", [0, -3, 2.5, True])
def test_widths_are_checked(name, value):
    with pytest.raises(ValueError, match=name):
        spacy.blank("en").add_pipe("rnn_parser", config={"model": {name: value}})
