import pytest

from spacy_rnn.architectures.embed import build_lexeme_embed


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"attrs": []}, "attrs"),
        ({"rows": [5]}, "one value for each attribute"),
        ({"rows": [0, 5, 5, 5]}, "rows = 0"),
        ({"word_dropout": 1.0}, "word_dropout = 1.0"),
        ({"maxout_pieces": 0}, "maxout_pieces = 0"),
        ({"width": 0}, "width = 0"),
        ({"ngram_sizes": [0]}, "ngram_sizes = 0"),
        ({"attrs": ["FOO"], "rows": [5], "attr_widths": [5]}, "attrs = 'FOO'"),
        ({"affix_rows": 0}, "affix_rows = 0"),
        ({"prefix_sizes": [0]}, "prefix_sizes = 0"),
        ({"suffix_sizes": [-1]}, "suffix_sizes = -1"),
        ({"ngram_width": 0}, "ngram_width = 0"),
        ({"grad_clip_norm": -1}, "grad_clip_norm = -1"),
        ({"width": "12"}, "width = '12' must be a whole number"),
    ],
)
def test_impossible_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build_lexeme_embed(**{"width": 12, **kwargs})
