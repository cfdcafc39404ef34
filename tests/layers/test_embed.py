import numpy
import pytest
import spacy
from spacy.tokens import Doc
from thinc.api import Adam, fix_random_seed

from spacy_rnn.architectures.embed import build_lexeme_embed


def make_embed(docs, **kwargs):
    fix_random_seed(0)
    settings = {
        "attrs": ["NORM", "SHAPE"],
        "rows": [50, 50],
        "attr_widths": [8, 4],
        "affix_rows": 50,
        "ngram_rows": 100,
    }
    model = build_lexeme_embed(12, **{**settings, **kwargs})
    model.initialize(X=docs)
    return model


@pytest.fixture
def docs():
    nlp = spacy.blank("en")
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
    Y = model.predict(docs)[0]
    assert not numpy.allclose(Y[1], Y[4])


def test_words_are_dropped_in_training_only(docs):
    model = make_embed(docs, word_dropout=0.5)
    docs = docs * 20
    clean = numpy.concatenate(model.predict(docs))
    Ys, backprop = model.begin_update(docs)
    dropped = (numpy.abs(numpy.concatenate(Ys) - clean) > 1e-6).any(axis=1)
    assert 0.3 < dropped.mean() < 0.7
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
    for name in ("attrs.0.weight", "ngrams.weight", "mix.weight"):
        param = module.get_parameter(name)
        place = divmod(int(param.grad.abs().argmax()), param.shape[1])
        losses = []
        for step in (-1e-2, 1e-2):
            param.data[place] += step
            losses.append(
                sum((Y * dY).sum() for Y, dY in zip(model.predict(docs), dYs, strict=True))
            )
            param.data[place] -= step
        numeric = (losses[1] - losses[0]) / 2e-2
        assert param.grad[place].item() == pytest.approx(numeric, rel=0.05)


def test_training_changes_what_it_saw(docs):
    model = make_embed(docs)
    before = model.predict(docs)
    Ys, backprop = model.begin_update(docs)
    backprop(Ys)
    model.finish_update(Adam(0.1))
    assert not numpy.allclose(model.predict(docs)[0], before[0])


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
    ],
)
def test_impossible_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build_lexeme_embed(**{"width": 12, **kwargs})
