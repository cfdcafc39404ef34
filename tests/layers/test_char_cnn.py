import numpy
import pytest
import spacy
import torch
from spacy.tokens import Doc
from spacy.util import registry

from spacy_rnn.layers.word_features import get_features, learn_words


def make_layer(**settings):
    torch.manual_seed(0)
    build = registry.architectures.get("spacy-rnn.CharCNNEmbed.v1")
    layer = build(**{"width": 12, "filters": [[1, 4], [3, 8]], "highway_layers": 2, **settings})
    layer.initialize()
    return layer


def make_docs(*texts):
    vocab = spacy.blank("xx").vocab
    return [Doc(vocab, words=text.split()) for text in texts]


def test_a_word_has_one_embedding_whatever_is_in_the_batch():
    layer = make_layer()
    docs = make_docs("a cat", "", "cat antidisestablishmentarianism 🎉", "a")
    together = layer.predict(docs)
    assert [Y.shape for Y in together] == [(2, 12), (0, 12), (3, 12), (1, 12)]
    for doc, Y in zip(docs, together, strict=True):
        if len(doc):
            assert numpy.allclose(layer.predict([doc])[0], Y, atol=1e-5)
    assert numpy.allclose(together[0][1], together[2][0], atol=1e-6)
    assert not numpy.allclose(together[0][0], together[0][1])


def test_characters_and_their_order_count():
    layer = make_layer()
    (Y,) = layer.predict(make_docs("cat act Cat cats"))
    for i in range(1, 4):
        assert not numpy.allclose(Y[0], Y[i])


def test_long_tokens_are_read_at_both_ends():
    layer = make_layer(max_chars=10)
    (Y,) = layer.predict(make_docs(" ".join("abcde" + x + "vwxyz" for x in ("m", "n" * 10**5))))
    assert numpy.allclose(Y[0], Y[1], atol=1e-6)


def test_gradients_reach_all_parameters():
    layer = make_layer()
    Ys, backprop = layer.begin_update(make_docs("a cat", "", "dogs"))
    assert backprop([numpy.ones_like(Y) for Y in Ys]) == []
    for name, param in layer.shims[0].module.named_parameters():
        assert param.grad is not None and param.grad.abs().sum() > 0, name


def test_what_is_loaded_embeds_the_same():
    layer, other = make_layer(), make_layer()
    docs = make_docs("a cat")
    for param in other.shims[0].module.parameters():
        torch.nn.init.zeros_(param)
    other.from_bytes(layer.to_bytes())
    assert numpy.array_equal(layer.predict(docs)[0], other.predict(docs)[0])
    with pytest.raises(ValueError, match="max_chars"):
        make_layer(max_chars=9).from_bytes(layer.to_bytes())


def test_a_language_model_can_ask_for_words():
    layer, vocab = make_layer(), spacy.blank("xx").vocab
    learn_words(layer, ["cat"], vocab)
    found = layer.shims[0].predict(**get_features(layer, ["cat", "dog"], vocab, 0.5))
    (expected,) = layer.predict(make_docs("cat dog"))
    assert numpy.allclose(found, expected, atol=1e-6)
