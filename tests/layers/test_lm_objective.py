import numpy
import pytest
import torch
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Adam, fix_random_seed
from torch.nn import functional as F

from spacy_rnn.architectures.embed import build_lexeme_embed
from spacy_rnn.architectures.encoder import build_rnn_encoder
from spacy_rnn.architectures.lm_tok2vec import build_lm_tok2vec
from spacy_rnn.modules.embed.subword import mix_hash

from ..conftest import assert_gradient

TEXTS = ["the cat saw the dog", "", "dog", "the dog saw the cat"]


@pytest.fixture
def docs():
    vocab = Vocab()
    return [Doc(vocab, words=text.split()) for text in TEXTS]


def make_tok2vec(docs, **settings):
    fix_random_seed(0)
    embed = build_lexeme_embed(16, word_dropout=0.0)
    encode = build_rnn_encoder(8, depth=1, dropout=0.0)
    model = build_lm_tok2vec(embed, encode, **{"lm_rows": 50, **settings})
    model.initialize(X=docs)
    return model


def get_loss(model, docs):
    """The objective as it is defined, token by token."""
    objective = model.shims[0].module
    rows = [get_rows(doc) for doc in docs]
    loss = 0.0
    for Y, words in zip(model.predict(docs), rows, strict=True):
        for i, word in enumerate(words):
            for side, j in ((0, i - 1), (1, i + 1)):
                if 0 <= j < len(words):
                    half = torch.from_numpy(Y[j].copy())[4 * side : 4 * side + 4]
                    hidden = torch.tanh(objective.hidden[side](half))
                    logs = F.log_softmax(objective.output[side](hidden), dim=0)
                    loss -= logs[word].item()
    return loss


def get_rows(doc):
    rows = mix_hash(doc.to_array(["LOWER"])) % numpy.uint64(50) if len(doc) else []
    return [int(row) for row in rows]


def test_output_is_that_of_the_layers(docs):
    model = make_tok2vec(docs)
    Ys, _ = model.begin_update(docs)
    assert [Y.shape for Y in Ys] == [(len(doc), 8) for doc in docs]
    assert model.get_dim("nO") == 8
    plain = model.get_ref("encode").predict(model.get_ref("embed").predict(docs))
    for Y, predicted, expected in zip(Ys, model.predict(docs), plain, strict=True):
        numpy.testing.assert_allclose(Y, expected, atol=1e-6)
        numpy.testing.assert_allclose(predicted, expected, atol=1e-6)


def test_gradient_is_that_of_the_objective(docs):
    model = make_tok2vec(docs, lm_weight=0.5)
    model.begin_update(docs)
    Ys, backprop = model.begin_update(docs)
    backprop([numpy.zeros_like(Y) for Y in Ys])
    modules = [model.get_ref("embed").shims[0].module, model.shims[0].module]
    for module, name in zip(modules, ("attrs.0.weight", "output.1.weight"), strict=True):
        assert_gradient(module.get_parameter(name), lambda: 0.5 * get_loss(model, docs))


def test_gradient_is_added_to_what_comes_from_above(docs):
    model = make_tok2vec(docs)
    grads = []
    for each, above in ((model, 0.0), (model, 1.0), (model.layers[0], 1.0)):
        Ys, backprop = each.begin_update(docs)
        backprop([numpy.full_like(Y, above) for Y in Ys])
        param = model.get_ref("encode").shims[0].module.get_parameter("layers.0.weight_hh_l0")
        grads.append(param.grad.clone())
        param.grad = None
    torch.testing.assert_close(grads[1], grads[0] + grads[2])


def test_training_makes_words_more_probable(docs):
    model = make_tok2vec(docs, lm_weight=1.0)
    before, optimizer = get_loss(model, docs), Adam(0.01)
    for _ in range(20):
        Ys, backprop = model.begin_update(docs)
        backprop([numpy.zeros_like(Y) for Y in Ys])
        model.finish_update(optimizer)
    assert get_loss(model, docs) < 0.7 * before


def test_texts_without_neighbours(docs):
    model = make_tok2vec(docs)
    for few in ([docs[1]], [docs[2]], [docs[1], docs[2]], []):
        Ys, backprop = model.begin_update(few)
        backprop(Ys)
        assert [len(Y) for Y in Ys] == [len(doc) for doc in few]
        assert all(param.grad is None for param in model.shims[0].module.parameters())


def test_copies_and_files_have_the_objective(docs):
    model = make_tok2vec(docs)
    new = make_tok2vec(docs).from_bytes(model.to_bytes())
    assert get_loss(new, docs) == pytest.approx(get_loss(model, docs))
    assert get_loss(model.copy(), docs) == pytest.approx(get_loss(model, docs))


def test_without_weight_it_is_spacys_own(docs):
    plain = make_tok2vec(docs, lm_weight=0.0)
    assert not plain.shims
    build_lm_tok2vec(build_lexeme_embed(8), build_rnn_encoder(8, depth=2), lm_weight=0.0)
    assert [Y.shape for Y in plain.predict(docs)] == [(len(doc), 8) for doc in docs]
