import pytest
from spacy.ml.models.tok2vec import MaxoutWindowEncoder

from spacy_rnn.architectures.embed import build_lexeme_embed
from spacy_rnn.architectures.encoder import build_rnn_encoder
from spacy_rnn.architectures.lm_tok2vec import build_lm_tok2vec


@pytest.mark.parametrize(
    "encode",
    [
        build_rnn_encoder(8, depth=2),
        build_rnn_encoder(8, depth=1, bidirectional=False),
        build_rnn_encoder(8, depth=1, layer_norm=True),
        MaxoutWindowEncoder(8, 1, 2, 1),
    ],
)
def test_no_direction_may_have_seen_what_it_predicts(encode):
    with pytest.raises(ValueError, match=r"LMTok2Vec.v1 needs an encoder.*depth = 1"):
        build_lm_tok2vec(build_lexeme_embed(8), encode)


@pytest.mark.parametrize("setting", [{"lm_weight": -1}, {"lm_rows": 1}, {"lm_width": 0}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        build_lm_tok2vec(build_lexeme_embed(8), build_rnn_encoder(8, depth=1), **setting)
