import numpy
import pytest
import spacy
import torch
from spacy.tokens import Doc
from thinc.api import Adam, fix_random_seed

from spacy_rnn.architectures.embed import build_lexeme_embed
from spacy_rnn.layers.lexemes import Tokens
from spacy_rnn.layers.vectors import get_static_vectors

from ..conftest import assert_gradient


def make_embed(docs, width=12, **kwargs):
    fix_random_seed(0)
    settings = {
        "attrs": ["NORM", "SHAPE"],
        "rows": [50, 50],
        "attr_widths": [8, 4],
        "affix_rows": 50,
        "ngram_rows": 100,
    }
    model = build_lexeme_embed(width, **{**settings, **kwargs})
    model.initialize(X=docs)
    return model


@pytest.fixture
def docs():
    nlp = spacy.blank("xx")
    return [nlp(text) for text in ("The cat saw the cat.", "", "Cats!", " \n ")]


def test_one_row_for_each_token(docs):
    Ys = make_embed(docs).predict(docs)
    assert [Y.shape for Y in Ys] == [(len(doc), 12) for doc in docs]
    assert Ys[0].dtype == numpy.float32


def test_equal_tokens_have_equal_rows_wherever_they_are(docs):
    model = make_embed(docs)
    (first, *_), alone = model.predict(docs), model.predict([docs[0]])[0]
    numpy.testing.assert_array_equal(first[1], first[4])
    assert not numpy.allclose(first[0], first[1])
    numpy.testing.assert_allclose(first, alone, atol=1e-6)


def test_a_norm_set_by_hand_has_its_own_row(docs):
    model = make_embed(docs)
    docs[0][4].norm_ = "animal"
    model.begin_update(docs)
    Y = model.predict(docs)[0]
    assert not numpy.allclose(Y[1], Y[4])


def test_words_that_training_never_showed_are_hidden(docs):
    settings = {"rows": [1, 50], "prefix_sizes": [], "suffix_sizes": [], "ngram_sizes": []}
    model = make_embed(docs, word_dropout=0.0, **settings)
    unseen = spacy.blank("xx")("the dog")
    before = model.predict([docs[0], unseen])
    model.begin_update(docs)
    after = model.predict([docs[0], unseen])
    # Of all words, whose one row is the same, "dog" alone is unknown.
    assert not numpy.allclose(before[0], after[0])
    # Products of other batches may be rounded otherwise.
    close = {"rtol": 1e-5, "atol": 1e-5}
    numpy.testing.assert_allclose(after[1][0], after[0][3], **close)
    numpy.testing.assert_allclose(after[1][1], before[1][1], **close)
    assert not numpy.allclose(after[1][1], after[0][1])
    loaded = make_embed(docs, word_dropout=0.0, **settings).from_bytes(model.to_bytes())
    numpy.testing.assert_allclose(loaded.predict([unseen])[0], after[1], **close)


def test_what_is_kept_notices_new_words_after_a_move(docs):
    model = make_embed(docs, word_dropout=0.0)
    before = model.predict(docs)[0]
    # What moving to another device does.
    model.shims[0].module._apply(torch.clone)
    model.begin_update(docs)
    assert not numpy.allclose(model.predict(docs)[0], before)


def test_features_side_by_side(docs):
    model = make_embed(docs, None, word_dropout=0.0)
    # word, shape, seven affixes of 24, n-grams
    assert model.get_dim("nO") == 8 + 4 + 7 * 24 + 32
    first, *_ = model.predict(docs)
    assert first.shape == (len(docs[0]), model.get_dim("nO"))
    assert not first[:, :8].any()
    Ys, backprop = model.begin_update(docs)
    assert Ys[0][:, :8].any(axis=1).all()
    backprop(Ys)
    table = model.shims[0].module.get_parameter("ngrams.weight")
    assert table.grad.abs().sum() > 0


def test_words_are_dropped_in_training_only(docs):
    model = make_embed(docs, word_dropout=0.3)
    docs = docs * 20
    # Else they are left out because they are unknown.
    model.begin_update(docs)
    clean = numpy.concatenate(model.predict(docs))
    Ys, backprop = model.begin_update(docs)
    dropped = (numpy.abs(numpy.concatenate(Ys) - clean) > 1e-5).any(axis=1)
    assert 0.2 < dropped.mean() < 0.4
    assert backprop(Ys) == []
    # What is left of a word without itself depends on its letters only.
    rows = numpy.concatenate(Ys)
    cats = [i for i, t in enumerate(t for doc in docs for t in doc) if t.text == "cat"]
    assert len({rows[i].tobytes() for i in cats}) == 2


def test_gradients_equal_numeric_ones(docs):
    model = make_embed(docs)
    Ys, backprop = model.begin_update(docs)
    dYs = [numpy.random.default_rng(0).normal(size=Y.shape).astype("f") for Y in Ys]
    backprop(dYs)
    module = model.shims[0].module

    def get_loss():
        return sum((Y * dY).sum() for Y, dY in zip(model.predict(docs), dYs, strict=True))

    for name in ("attrs.0.weight", "affixes.weight", "ngrams.weight", "mix.weight"):
        assert_gradient(module.get_parameter(name), get_loss)


def test_training_changes_what_it_saw(docs):
    model = make_embed(docs)
    before = model.predict(docs)
    Ys, backprop = model.begin_update(docs)
    backprop(Ys)
    model.finish_update(Adam(0.1))
    assert not numpy.allclose(model.predict(docs)[0], before[0])


def test_words_are_embedded_once_until_the_weights_change(docs, monkeypatch):
    model, computed = make_embed(docs), []
    predict = model.shims[0].predict

    def count(**inputs):
        computed.append(len(inputs["tokens"]))
        return predict(**inputs)

    monkeypatch.setattr(model.shims[0], "predict", count)
    first = model.predict(docs)
    nlp = spacy.blank("xx")
    with_new = model.predict([nlp("The cat saw Rome")])[0]
    assert computed == [sum(map(len, docs)), 1]
    numpy.testing.assert_array_equal(with_new[:3], first[0][:3])
    alone = make_embed(docs).predict([nlp("The cat saw Rome")])[0]
    numpy.testing.assert_allclose(with_new, alone, atol=1e-6)
    averages = {model.shims[0]._key("norm.bias"): numpy.ones(12, dtype="f")}
    with model.use_params(averages):
        numpy.testing.assert_allclose(model.predict(docs)[0], first[0] + 1, atol=1e-6)
    numpy.testing.assert_allclose(model.predict(docs)[0], first[0], atol=1e-6)


def test_static_vectors(docs):
    vocab = docs[0].vocab
    with pytest.raises(ValueError, match="include_static_vectors"):
        make_embed(docs, include_static_vectors=True)
    vocab.set_vector("cat", numpy.ones(5, dtype="f"))
    model = make_embed(docs, include_static_vectors=True)
    before = model.predict(docs)[0]
    vocab.set_vector("cat", -numpy.ones(5, dtype="f"))
    after = model.predict(docs)[0]
    changed = [i for i in range(len(before)) if not numpy.allclose(before[i], after[i])]
    assert [docs[0][i].text for i in changed] == ["cat", "cat"]


def test_static_vectors_stand_in_for_hidden_words(docs):
    off = {"prefix_sizes": [], "suffix_sizes": [], "ngram_sizes": []}
    off |= {"attrs": ["NORM"], "rows": [50], "attr_widths": [8]}
    docs[0].vocab.set_vector("cat", numpy.ones(5, dtype="f"))
    model = make_embed(docs, include_static_vectors=True, **off)
    cat, saw, the, cats = (model.predict(docs)[i][j] for i, j in ((0, 1), (0, 2), (0, 3), (2, 0)))
    # Training has shown none of them.
    assert not numpy.allclose(cat, saw)
    for other in (the, cats):
        numpy.testing.assert_array_equal(saw, other)


@pytest.mark.parametrize("off", [{"ngram_sizes": []}, {"ngram_rows": 0}, {"prefix_sizes": []}])
def test_features_can_be_turned_off(docs, off):
    assert make_embed(docs, **off).predict(docs)[0].shape == (6, 12)


def test_any_script_and_any_length():
    nlp = spacy.blank("xx")
    words = ["x" * 100_000, "\U0001f600", "東京", "İstanbul", "ß", "\t"]
    docs = [Doc(nlp.vocab, words=words)]
    Y = make_embed(docs).predict(docs)[0]
    assert numpy.isfinite(Y).all()
    assert len({row.tobytes() for row in Y}) == len(words)


class TestStaticVectors:
    @pytest.fixture
    def vocab(self):
        """A table without room to spare, as pipelines have: row -1 is a word's."""
        vocab = spacy.blank("xx").vocab
        data = numpy.arange(1, 7, dtype="f").reshape(3, 2)
        vocab.vectors = spacy.vectors.Vectors(data=data, keys=["cat", "dog", "last"])
        return vocab

    def lookup(self, vocab, words, width=2):
        docs = [Doc(vocab, words=words)]
        lexemes = Tokens(docs, ["NORM"]).get_lexemes()
        return get_static_vectors(docs, lexemes, width)[lexemes.tokens]

    def test_words_without_a_vector_have_zeros(self, vocab):
        found = self.lookup(vocab, ["cat", "xyzzy", "last"])
        assert found.tolist() == [[1, 2], [0, 0], [5, 6]]
        assert found.dtype == "float32"

    def test_any_precision(self, vocab):
        vocab.vectors.data = vocab.vectors.data.astype("float64")
        assert self.lookup(vocab, ["dog"]).dtype == "float32"

    def test_floret(self):
        vocab = spacy.blank("xx").vocab
        data = numpy.random.default_rng(0).normal(size=(20, 3)).astype("f")
        floret = {"minn": 2, "maxn": 3, "hash_count": 2, "bow": "<", "eow": ">"}
        vocab.vectors = spacy.vectors.Vectors(data=data, mode="floret", **floret)
        found = self.lookup(vocab, ["cat", "xyzzy"], width=3)
        numpy.testing.assert_allclose(found[1], vocab["xyzzy"].vector, atol=1e-6)

    def test_the_vectors_own_attribute_is_the_key(self, vocab):
        data = vocab.vectors.data
        keys = ["cat", "dog", "last"]
        vocab.vectors = spacy.vectors.Vectors(data=data, keys=keys, attr="LOWER")
        found = self.lookup(vocab, ["Cat", "CAT", "cat", "Dog"])
        assert found.tolist() == [[1, 2], [1, 2], [1, 2], [3, 4]]

    def test_other_vectors_than_at_initialisation_are_refused(self, vocab):
        model = make_embed([Doc(vocab, words=["cat"])], include_static_vectors=True)
        with pytest.raises(ValueError, match=r"width 2, but the vocab's have width 0"):
            model.predict([Doc(spacy.blank("xx").vocab, words=["cat"])])


def test_docs_of_several_vocabs(docs):
    other = [Doc(spacy.blank("xx").vocab, words=["Zebras", "cat"])]
    model = make_embed(docs)
    together = model.predict([*docs, *other])
    numpy.testing.assert_allclose(together[-1], model.predict(other)[0], atol=1e-6)
    numpy.testing.assert_allclose(together[-1][1], together[0][1], atol=1e-6)


def test_spans_are_read_like_docs(docs):
    model = make_embed(docs)
    span = docs[0][1:4]
    numpy.testing.assert_allclose(
        model.predict([span])[0], model.predict([docs[0]])[0][1:4], atol=1e-6
    )


def test_the_config_decides_on_dropout_and_not_the_file(docs):
    stored = make_embed(docs, word_dropout=0.9).to_bytes()
    model = make_embed(docs, word_dropout=0.0).from_bytes(stored)
    Ys, _ = model.begin_update(docs)
    for Y, clean in zip(Ys, model.predict(docs), strict=True):
        numpy.testing.assert_allclose(Y, clean, atol=1e-6)


def test_weights_for_other_features_are_refused(docs):
    stored = make_embed(docs, attrs=["LOWER", "SHAPE"]).to_bytes()
    with pytest.raises(ValueError, match=r"attrs = \['LOWER', 'SHAPE'\].*attrs = \['NORM'"):
        make_embed(docs).from_bytes(stored)


def test_initialising_again_starts_anew(docs):
    model = make_embed(docs)
    before = model.predict(docs)[0]
    model.initialize(X=docs)
    assert not numpy.allclose(model.predict(docs)[0], before)
    fix_random_seed(0)
    model.initialize(X=docs)
    numpy.testing.assert_array_equal(model.predict(docs)[0], before)
