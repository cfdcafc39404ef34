import numpy
import pytest
from spacy.tokens import Doc
from thinc.api import Config

from spacy_rnn.probing.alignments import map_attention
from spacy_rnn.probing.attention import keep_attention

from ..conftest import SMALL_TAGGER, make_nlp


@pytest.fixture(scope="module")
def nlp():
    config = Config().from_str(SMALL_TAGGER)["model"]
    config["tok2vec"]["encode"] = {
        "@architectures": "spacy-rnn.SelfAttentionEncoder.v1",
        "width": 16,
        "depth": 2,
        "window": 2,
    }
    return make_nlp(config)


def test_weights_are_kept_on_request_and_change_nothing(nlp):
    texts = ["The cat sat .", "", "Dogs bark"]
    docs = [nlp(text) for text in texts]
    assert all(not doc.user_data for doc in docs)
    scores = nlp.get_pipe("rnn_tagger").model.predict(docs)
    weights = keep_attention(nlp, docs, "rnn_tagger")
    assert [array.shape for array in weights] == [(2, 4, n, n) for n in (4, 0, 2)]
    numpy.testing.assert_allclose(weights[0].sum(axis=3), 1.0, rtol=1e-6)
    assert (weights[0][:, :, 0, 3] == 0).all()
    for doc, array in zip(docs, weights, strict=True):
        numpy.testing.assert_array_equal(doc.user_data["attention"], array)
    again = nlp.get_pipe("rnn_tagger").model.predict(docs)
    for before, after in zip(scores, again, strict=True):
        numpy.testing.assert_array_equal(before, after)
    stored = Doc(nlp.vocab).from_bytes(docs[0].to_bytes())
    numpy.testing.assert_array_equal(stored.user_data["attention"], weights[0])


def test_a_component_without_it_is_named(nlp, trained_nlp):
    with pytest.raises(ValueError, match=r"no component 'ner'.*rnn_tagger"):
        keep_attention(nlp, [], "ner")
    with pytest.raises(ValueError, match=r"'rnn_tagger' has 0 layers.*SelfAttentionEncoder"):
        keep_attention(trained_nlp, [], "rnn_tagger")


def test_weights_are_drawn(nlp, tmp_path):
    doc = nlp("The cat sat .")
    (weights,) = keep_attention(nlp, [doc], "rnn_tagger")
    words = [token.text for token in doc]
    maps = map_attention(nlp, "rnn_tagger", "The cat sat .")
    assert [heat_map.title for heat_map in maps][:2] == ["layer 1, head 1", "layer 1, head 2"]
    assert len(maps) == weights.shape[0] * weights.shape[1]
    assert all(heat_map.rows == heat_map.columns == words for heat_map in maps)
    numpy.testing.assert_array_equal(maps[1].weights, weights[0, 1])
    assert map_attention(nlp, "rnn_tagger", "") == []
