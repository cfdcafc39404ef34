import numpy
import pytest
from spacy.util import registry
from thinc.api import Adam, Config, fix_random_seed, set_dropout_rate

from ..conftest import SMALL_TAGGER, make_examples, make_nlp

NAME = "spacy-rnn.SelfAttentionEncoder.v1"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"width": 0}, "width = 0"),
        ({"depth": 0}, "depth = 0"),
        ({"heads": 0}, "heads = 0"),
        ({"heads": 3}, "width = 8 can't be divided into heads = 3.*multiple of 6"),
        ({"heads": 8}, "width = 8 can't be divided into heads = 8"),
        ({"hidden_width": 0}, "hidden_width = 0"),
        ({"positions": "learned"}, "positions = 'learned'.*'rotary', 'sinusoidal'"),
        ({"window": 0}, "window = 0"),
        ({"dropout": 1.0}, "dropout = 1.0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        registry.architectures.get(NAME)(**{"width": 8, "heads": 2, **settings})


def make_encoder(**settings):
    fix_random_seed(0)
    model = registry.architectures.get(NAME)(8, heads=2, window=4, **settings)
    model.initialize(X=[numpy.zeros((2, 4), dtype="f")])
    return model


def make_batch():
    rng = numpy.random.default_rng(0)
    return [rng.normal(size=(n, 4)).astype("f") for n in (0, 3, 0, 1, 9, 0)]


def test_empty_sequences_have_empty_results_and_gradients():
    model = make_encoder()
    Ys, backprop = model.begin_update(make_batch())
    assert [Y.shape for Y in Ys] == [(n, 8) for n in (0, 3, 0, 1, 9, 0)]
    assert [dX.shape for dX in backprop(Ys)] == [(n, 4) for n in (0, 3, 0, 1, 9, 0)]
    assert [Y.shape for Y in model.predict(make_batch()[:1])] == [(0, 8)]


@pytest.mark.parametrize("dropout", [None, 0.0, 0.5])
def test_dropout_follows_the_training_loop_unless_it_is_set(dropout):
    model, Xs = make_encoder(dropout=dropout), make_batch()
    expected = numpy.concatenate(model.predict(Xs))
    set_dropout_rate(model, 0.5 if dropout is None else 0.9)
    found = numpy.concatenate(model.begin_update(Xs)[0])
    assert numpy.allclose(found, expected, atol=1e-5) is (dropout == 0)


def test_a_tagger_learns_with_it_and_is_stored(tmp_path):
    config = Config().from_str(SMALL_TAGGER)["model"]
    config["tok2vec"]["encode"] = {"@architectures": NAME, "width": 16, "depth": 1, "window": 3}
    nlp = make_nlp(config, steps=60)
    docs = [eg.reference for eg in make_examples(nlp)]
    texts = [doc.text for doc in docs]
    expected = [[token.tag_ for token in doc] for doc in docs]
    assert [[token.tag_ for token in doc] for doc in nlp.pipe(texts)] == expected
    again = make_nlp(config).from_bytes(nlp.to_bytes())
    scores = [p.get_pipe("rnn_tagger").model.predict(docs) for p in (nlp, again)]
    for ours, theirs in zip(*scores, strict=True):
        numpy.testing.assert_array_equal(ours, theirs)


def test_weights_of_other_settings_are_refused():
    stored = make_encoder().to_bytes()
    with pytest.raises(ValueError, match=r"self_attention_encoder.*window"):
        build = registry.architectures.get(NAME)
        build(8, heads=2, window=5).from_bytes(stored)


def test_it_learns_to_copy_a_neighbour():
    """A layer without positions could not."""
    model, optimizer = make_encoder(), Adam(0.01)
    rng = numpy.random.default_rng(0)
    for _ in range(300):
        Xs = [rng.normal(size=(n, 4)).astype("f") for n in (5, 9)]
        Ys, backprop = model.begin_update(Xs)
        errors = [Y[1:, :4] - X[:-1] for X, Y in zip(Xs, Ys, strict=True)]
        backprop([numpy.pad(error, ((1, 0), (0, 4))) for error in errors])
        model.finish_update(optimizer)
    assert numpy.square(numpy.concatenate(errors)).mean() < 0.4
