import pytest
from spacy.util import registry


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"width": 7}, "width = 7 is odd.*bidirectional = false"),
        ({"cell": "sru"}, "cell = 'sru'.*'elman', 'gru', 'irnn', 'lstm'"),
        ({"depth": 0}, "depth = 0"),
        ({"width": 0}, "width = 0"),
        ({"dropout": 1.0}, r"dropout = 1.0.*below 1"),
        ({"dropout": -0.1}, r"dropout = -0.1"),
        ({"grad_clip_norm": -1.0}, "grad_clip_norm = -1.0"),
        ({"grad_clip_value": -1.0}, "grad_clip_value = -1.0"),
        ({"max_tokens_in_memory": 0}, "max_tokens_in_memory = 0"),
        ({"bptt_k1": 0}, "bptt_k1 = 0"),
        ({"bptt_k2": 4}, "bptt_k2 = 4 must be a multiple of bptt_k1 = None"),
        ({"bptt_k1": 3, "bptt_k2": 4}, "bptt_k2 = 4 must be a multiple of bptt_k1 = 3"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    build = registry.architectures.get("spacy-rnn.RNNEncoder.v1")
    with pytest.raises(ValueError, match=message):
        build(**{"width": 8, **settings})


@pytest.mark.parametrize("width, bidirectional", [(7, False), (8, True), (2, True)])
def test_width_is_the_output_width(width, bidirectional):
    build = registry.architectures.get("spacy-rnn.RNNEncoder.v1")
    assert build(width, bidirectional=bidirectional).get_dim("nO") == width
