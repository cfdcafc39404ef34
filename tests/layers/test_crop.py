"""Training on a part of each long text."""

from functools import partial

import numpy
import pytest
import spacy
from spacy.ml.models import CharacterEmbed, MultiHashEmbed, build_Tok2Vec_model
from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import Doc
from thinc.api import Adam, Model, Relu, chain, concatenate, fix_random_seed, with_array

from spacy_rnn.architectures.embed import build_lexeme_embed
from spacy_rnn.architectures.encoder import build_rnn_encoder
from spacy_rnn.layers.bilm_listener import bilm_listener
from spacy_rnn.layers.crop import crop
from spacy_rnn.layers.rehearsal import rehearsal


def number(n):
    return [f"w{i}" for i in range(n)]


def make_reader():
    """Give each token its number in its Doc, and collect the gradient."""
    gradients = []

    def forward(model, docs, is_train):
        Xs = [numpy.array([[int(t.text[1:])] for t in doc], "f").reshape(-1, 1) for doc in docs]
        return Xs, lambda dYs: gradients.append(dYs) or []

    return Model("reader", forward, dims={"nO": 1}), gradients


@pytest.fixture
def docs():
    vocab = spacy.blank("xx").vocab
    return [Doc(vocab, words=number(n)) for n in (50, 0, 4, 3, 11)]


def test_reads_a_few_tokens_in_a_row_in_training(docs):
    fix_random_seed(0)
    model, _ = make_reader()
    model = crop(model, 4)
    starts = set()
    for _ in range(100):
        Xs, _ = model(docs, True)
        assert [len(X) for X in Xs] == [4, 0, 4, 3, 4]
        for X in Xs:
            assert (numpy.diff(X[:, 0]) == 1).all()
        starts.add(int(Xs[-1][0, 0]))
    # Each place there is, the first and the last too.
    assert starts == set(range(8))
    assert [len(X) for X in model.predict(docs)] == [50, 0, 4, 3, 11]


def test_same_seed_same_parts(docs):
    read = []
    for _ in range(2):
        fix_random_seed(1)
        model, _ = make_reader()
        Xs, _ = crop(model, 4)(docs, True)
        read.append(numpy.concatenate(Xs))
    numpy.testing.assert_array_equal(*read)


def test_short_texts_are_read_as_they_are(docs):
    seen = []
    model = crop(Model("seen", lambda model, docs, is_train: (seen.extend(docs) or [], None)), 50)
    model(docs, True)
    assert all(doc is given for doc, given in zip(seen, docs, strict=True))


def test_all_of_a_text_is_read_in_rehearsal(docs):
    model, _ = make_reader()
    model = crop(model, 4)
    with rehearsal(model):
        assert [len(X) for X in model(docs, True)[0]] == [50, 0, 4, 3, 11]
    assert [len(X) for X in model(docs, True)[0]] == [4, 0, 4, 3, 4]


def test_gradient_of_what_was_read(docs):
    model, gradients = make_reader()
    Ys, backprop = crop(model, 4)(docs, True)
    backprop([Y + 1 for Y in Ys])
    for dX, Y in zip(gradients[0], Ys, strict=True):
        numpy.testing.assert_array_equal(dX, Y + 1)


def test_output_of_a_listener_is_cut(docs):
    encoder, gradients = make_reader()
    listener = Tok2VecListener("tok2vec", width=1)
    Xs, backprop = encoder(docs, True)
    listener.receive(Tok2VecListener.get_batch_id(docs), Xs, backprop)
    layer = with_array(Relu(1, 1, init_W=set_one))
    Ys, backprop = crop(chain(listener, layer), 4).initialize()(docs, True)
    assert [len(Y) for Y in Ys] == [4, 0, 4, 3, 4]
    assert (numpy.diff(Ys[0][:, 0]) == 1).all()
    backprop([numpy.ones_like(Y) for Y in Ys])
    for X, Y, dX in zip(Xs, Ys, gradients[0], strict=True):
        # Zero was not let through by the rectifier.
        expected = numpy.isin(X, Y) & (X > 0)
        numpy.testing.assert_array_equal(dX, expected.astype("f"))


def set_one(ops, shape):
    return ops.alloc_f(shape) + 1


@pytest.mark.parametrize("wrap", [lambda node: node, lambda node: concatenate(node, node)])
def test_output_of_a_language_model_is_cut(docs, wrap):
    n_layers, width, key = 3, 4, ("._.", "bilm", None, None)
    for doc in docs:
        doc.user_data[key] = numpy.random.random((n_layers, len(doc), width)).astype("f")
    listener = chain(
        bilm_listener("*"), Model("last", lambda model, Xs, is_train: ([X[-1] for X in Xs], None))
    )
    Ys, _ = crop(wrap(listener), 4)(docs, True)
    assert [len(Y) for Y in Ys] == [4, 0, 4, 3, 4]
    last = docs[0].user_data[key][-1]
    assert any((Ys[0][:, :width] == last[i : i + 4]).all() for i in range(47))


def test_width_that_is_known_later(docs):
    def init(node, X=None, Y=None):
        node.set_dim("nO", 7)

    node = Model("later", lambda model, docs, is_train: ([], None), init=init, dims={"nO": None})
    model = crop(node, 4)
    assert not model.has_dim("nO")
    assert model.initialize(X=docs).get_dim("nO") == 7


@pytest.mark.parametrize(
    "embed",
    [
        partial(build_lexeme_embed, 8, word_dropout=0),
        partial(
            MultiHashEmbed,
            width=8,
            attrs=["NORM", "SHAPE"],
            rows=[50, 50],
            include_static_vectors=False,
        ),
        partial(CharacterEmbed, 8, 50, 4, 4, include_static_vectors=False),
    ],
    ids=["lexeme", "multi_hash", "character"],
)
def test_a_part_is_read_as_a_text(docs, embed):
    fix_random_seed(0)
    tok2vec = build_Tok2Vec_model(embed(), build_rnn_encoder(width=4, dropout=0))
    model = crop(tok2vec, 4).initialize(X=docs)
    fix_random_seed(2)
    Ys, backprop = model(docs, True)
    fix_random_seed(2)
    starts = [numpy.random.randint(len(doc) - 3) if len(doc) > 4 else 0 for doc in docs]
    parts = [
        Doc(doc.vocab, words=[token.text for token in doc[start : start + 4]])
        for doc, start in zip(docs, starts, strict=True)
    ]
    for Y, expected in zip(Ys, tok2vec.predict(parts), strict=True):
        numpy.testing.assert_allclose(Y, expected, atol=1e-5)
    before = tok2vec.to_bytes()
    backprop([Y + 1 for Y in Ys])
    model.finish_update(Adam(0.1))
    assert tok2vec.to_bytes() != before
