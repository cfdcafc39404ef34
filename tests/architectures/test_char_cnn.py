import pytest

from spacy_rnn.architectures.char_cnn import build_char_cnn_embed


@pytest.mark.parametrize(
    ("setting", "value"),
    [("filters", []), ("filters", [[1]]), ("filters", [[0, 2]]), ("max_chars", 1), ("width", 0)],
)
def test_impossible_settings_are_refused(setting, value):
    with pytest.raises(ValueError, match=setting):
        build_char_cnn_embed(**{"width": 12, setting: value})
