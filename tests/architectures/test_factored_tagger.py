"""One linear map, a softmax for each group, and no combination that training did not show."""

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from spacy.parts_of_speech import IDS
from spacy.tokens import Doc
from spacy.util import registry
from spacy.vocab import Vocab
from thinc.api import NumpyOps, fix_random_seed

from spacy_rnn.kernels import INSTRUCTIONS
from spacy_rnn.layers.factored_softmax import factored_softmax, set_sizes
from spacy_rnn.pipeline.flat_loss import compute_flat_loss
from spacy_rnn.pipeline.morph_labels import FactoredLabels, parse_label

from ..conftest import make_tok2vec

LABELS = [
    "Case=Nom|Number=Sing|POS=NOUN",
    "Case=Acc|Number=Plur|POS=NOUN",
    "Number=Sing|POS=VERB|Tense=Past",
    "Number=Dual,Plur|POS=VERB|Tense=Pres",
    "POS=PUNCT",
    "Case=Voc",
]
SIZES = [3, 4, 4, 3]


def make_tables(labels=LABELS):
    analyses = {label: parse_label(label) for label in labels}
    return FactoredLabels(
        {label: morph for label, (_, morph) in analyses.items()},
        {label: pos for label, (pos, _) in analyses.items()},
    )


def make_layer(sizes=SIZES, n_inputs=7):
    fix_random_seed(0)
    layer = factored_softmax()
    set_sizes(layer, sizes)
    X = numpy.random.normal(size=(50, n_inputs)).astype("float32")
    layer.initialize(X=X)
    layer.set_param("W", numpy.random.normal(size=(sum(sizes), n_inputs)).astype("float32"))
    return layer, X


def test_groups_have_a_softmax_each_in_training_only():
    layer, X = make_layer()
    Y, _ = layer.begin_update(X)
    scores = layer.predict(X)
    for part, raw in zip(*(numpy.split(A, [3, 7, 11], axis=1) for A in (Y, scores)), strict=True):
        numpy.testing.assert_allclose(part.sum(axis=1), 1, rtol=1e-5)
        expected = numpy.exp(raw) / numpy.exp(raw).sum(axis=1, keepdims=True)
        numpy.testing.assert_allclose(part, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(INSTRUCTIONS is None, reason="there are no compiled kernels")
def test_scores_do_not_depend_on_the_batch():
    layer, X = make_layer()
    whole = layer.predict(X)
    for begin, end in ((0, 1), (3, 20), (49, 50), (5, 5)):
        numpy.testing.assert_array_equal(layer.predict(X[begin:end]), whole[begin:end])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_gradient_is_that_of_the_definition(smoothing):
    random = numpy.random.RandomState(0)
    sizes, lengths = [3, 1, 4], [2, 0, 4]
    logits = torch.tensor(random.normal(size=(6, 8)), requires_grad=True)
    truths = numpy.asarray([[0, 0, 3], [2, -1, 1], [-1, 0, 2], [1, 0, -1], [-1] * 3, [0, 0, 0]])
    loss, probabilities = 0.0, []
    for i, part in enumerate(torch.split(logits, sizes, dim=1)):
        n, known = part.shape[1], torch.tensor(truths[:, i] >= 0)
        target = torch.zeros_like(part) + (smoothing / (n - 1) if n > 1 else 0.0)
        target[range(6), numpy.maximum(truths[:, i], 0)] = 1 - smoothing if n > 1 else 1.0
        loss = loss - (target * part.log_softmax(1))[known].sum()
        probabilities.append(part.softmax(1).detach().numpy())
    loss.backward()
    docs = numpy.split(numpy.concatenate(probabilities, axis=1), numpy.cumsum(lengths)[:-1])
    value, gradient = compute_flat_loss(NumpyOps(), docs, truths, sizes, smoothing)
    assert [len(dY) for dY in gradient] == lengths
    numpy.testing.assert_allclose(numpy.concatenate(gradient), logits.grad, atol=1e-12)
    assert value == pytest.approx(float((logits.grad**2).sum()))


def test_the_weights_get_that_gradient():
    layer, X = make_layer()
    dY = numpy.random.RandomState(1).normal(size=(50, sum(SIZES))).astype("float32")
    _, backprop = layer.begin_update(X)
    numpy.testing.assert_allclose(backprop(dY), dY @ layer.get_param("W"), rtol=1e-4, atol=1e-4)
    numpy.testing.assert_allclose(layer.get_grad("W"), dY.T @ X, rtol=1e-4, atol=1e-4)
    numpy.testing.assert_allclose(layer.get_grad("b"), dY.sum(axis=0), rtol=1e-4, atol=1e-4)


def predict(tables, scores):
    return [tables.analyses[label] for label in tables.decode(scores)]


@given(
    arrays(
        "float32",
        st.tuples(st.integers(1, 5), st.just(sum(SIZES))),
        elements=st.floats(-9, 9, width=32),
    )
)
def test_the_prediction_is_the_best_label_of_the_best_part_of_speech(scores):
    tables, vocab = make_tables(), Vocab()
    assert tables.sizes == SIZES
    starts = numpy.cumsum([0, *SIZES[:-1]])
    for row, (pos, morph) in zip(scores, predict(tables, scores), strict=True):
        # The IDs of parts of speech are in alphabetical order.
        assert pos == [IDS["NOUN"], IDS["PUNCT"], IDS["VERB"]][row[:3].argmax()]
        sums = {}
        for other in (m for p, m in tables.analyses if p == pos):
            columns = numpy.asarray(tables.encode(vocab, (pos, vocab.morphology.add(other))))
            sums[other] = row[(starts + columns)[columns >= 0]].sum()
        assert sums[morph] == pytest.approx(max(sums.values()), abs=1e-5)


def test_values_that_do_not_go_together_give_way():
    tables = make_tables()
    # NOUN, PUNCT, VERB; Case: none, Acc, Nom, Voc; Number: none, Dual,Plur, Plur, Sing; Tense:
    # none, Past, Pres.
    scores = numpy.asarray(
        [
            [1, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 1, 0, 0],
            [1, 0, 0, 0, 1, 2, 9, 9, 8, 4, 2, 0, 5, 5],
            [0, 1, 0, 0, 1, 2, 9, 0, 8, 1, 2, 0, 5, 5],
            [0, 0, 1, 0, 1, 2, 9, 9, 8, 9, 2, 0, 5, 6],
        ],
        dtype="float32",
    )
    assert predict(tables, scores) == [
        (IDS["NOUN"], "Case=Nom|Number=Sing"),
        (IDS["NOUN"], "Case=Acc|Number=Plur"),
        (IDS["PUNCT"], ""),
        (IDS["VERB"], "Number=Dual,Plur|Tense=Pres"),
    ]


def test_gold_annotation_is_the_values_that_the_part_of_speech_leaves_open():
    tables, vocab = make_tables(), Vocab()
    expected = [
        [0, 2, 3, -1],
        [0, 1, 2, -1],
        [2, -1, 3, 1],
        [2, -1, 1, 2],
        [1, -1, -1, -1],
        [-1, 3, 0, 0],
    ]
    for label, row in zip(LABELS, expected, strict=True):
        pos, morph = parse_label(label)
        assert list(tables.encode(vocab, (pos, vocab.morphology.add(morph)))) == row
    assert list(tables.encode(vocab, (0, 0))) == [-1] * 4
    assert list(tables.encode(vocab, (IDS["NOUN"], 0))) == [0, -1, -1, -1]
    empty = vocab.morphology.add("")
    assert list(tables.encode(vocab, (IDS["NOUN"], empty))) == [0, 0, 0, -1]
    for gold in ((IDS["X"], empty), (0, vocab.morphology.add("Case=Dat"))):
        with pytest.raises(ValueError):
            tables.encode(vocab, gold)
    with pytest.raises(ValueError, match="Gender"):
        tables.encode(vocab, (0, vocab.morphology.add("Gender=Fem")))


def test_features_without_parts_of_speech():
    tables = make_tables(["Case=Nom", "Case=Acc|Number=Sing"])
    assert tables.sizes == [1, 3, 2]
    scores = numpy.asarray([[0, 0, 1, 2, 1, 0], [0, 9, 8, 0, 0, 1]], dtype="float32")
    assert predict(tables, scores) == [(0, "Case=Nom"), (0, "Case=Acc|Number=Sing")]


def test_the_model_is_built_from_a_config():
    tok2vec = registry.resolve({"model": make_tok2vec()})["model"]
    model = registry.architectures.get("spacy-rnn.FactoredTagger.v1")(tok2vec)
    set_sizes(model.get_ref("output_layer"), SIZES)
    docs = [Doc(Vocab(), words=["a", "b"]), Doc(Vocab())]
    model.initialize(X=docs)
    assert model.get_dim("nO") == sum(SIZES)
    assert [Y.shape for Y in model.predict(docs)] == [(2, 14), (0, 14)]
