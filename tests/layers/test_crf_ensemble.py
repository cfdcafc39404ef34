"""Several networks that learn by themselves and predict together."""

import copy
import pickle

import numpy
import pytest
import spacy
from spacy.tokens import Span
from spacy.training import Example
from thinc.api import Adam

from spacy_rnn.layers.crf import LEARNED, find_outputs
from spacy_rnn.layers.crf_ensemble import average

from ..pipeline.test_rnn_ner import TEXTS, gold, make_config, make_examples, make_nlp, read, words


@pytest.fixture(scope="module")
def trained():
    return make_nlp(steps=40, members=3)


def get_docs(nlp):
    return [words(nlp, text) for text, _ in TEXTS]


def get_probabilities(nlp):
    return [doc.spans["rnn_ner"].attrs["scores"] for doc in nlp.pipe(get_docs(nlp))]


def test_it_learns_and_averages_scores(trained):
    docs = get_docs(trained)
    assert [read(doc) for doc in trained.pipe(docs)] == [gold(tags) for _, tags in TEXTS]
    model = trained.get_pipe("rnn_ner").model
    members = model.predict(docs)
    assert len(members) == 3
    for layer, member in zip(model.layers, members, strict=True):
        (of_layer,) = layer.predict(docs)
        for emissions, alone in zip(member.emissions, of_layer.emissions, strict=True):
            numpy.testing.assert_array_equal(emissions, alone)
    scores = average(model.ops, members)
    for name in LEARNED:
        mean = numpy.mean([getattr(member, name) for member in members], axis=0)
        numpy.testing.assert_allclose(getattr(scores, name), mean, rtol=1e-5, atol=1e-5)
    for i, emissions in enumerate(scores.emissions):
        parts = [member.emissions[i] for member in members]
        assert not numpy.allclose(parts[0], parts[1])
        numpy.testing.assert_allclose(emissions, numpy.mean(parts, axis=0), rtol=1e-5, atol=1e-5)


def test_each_member_learns_as_if_it_were_alone():
    config = make_config(members=2)
    # Which words are hidden is random.
    config["tok2vec"]["embed"]["word_dropout"] = 0.0
    nlp = spacy.blank("xx")
    pipe = nlp.add_pipe("rnn_ner", config={"model": config})
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    alone = []
    for member in pipe.model.layers:
        scores, backprop = member.begin_update([eg.x for eg in examples])
        loss, gradient = pipe.get_loss(examples, scores)
        backprop(gradient)
        output = member.get_ref("output")
        alone.append((loss, {name: output.get_grad(name).copy() for name in ("W", *LEARNED)}))
        for node in member.walk():
            for name in node.grad_names:
                node.set_grad(name, node.get_grad(name) * 0)
    scores, backprop = pipe.model.begin_update([eg.x for eg in examples])
    loss, gradient = pipe.get_loss(examples, scores)
    backprop(gradient)
    assert loss == pytest.approx(sum(loss for loss, _ in alone) / 2)
    for member, (_, grads) in zip(pipe.model.layers, alone, strict=True):
        for name, grad in grads.items():
            assert grad.any()
            numpy.testing.assert_allclose(
                member.get_ref("output").get_grad(name), grad, rtol=1e-4, atol=1e-5
            )


def test_nothing_depends_on_the_batch(trained):
    together = get_probabilities(trained)
    for doc, scores in zip(get_docs(trained), together, strict=True):
        alone = trained(doc).spans["rnn_ner"].attrs["scores"]
        numpy.testing.assert_allclose(scores, alone, rtol=1e-5, atol=1e-5)


def test_new_labels_keep_old_scores(trained):
    nlp = copy.deepcopy(trained)
    pipe = nlp.get_pipe("rnn_ner")
    before = pipe.model.predict(get_docs(nlp))
    assert pipe.add_label("ORG") == 1
    after = pipe.model.predict(get_docs(nlp))
    parts = [[Y for member in members for Y in member.emissions] for members in (before, after)]
    for old, new in zip(*parts, strict=True):
        assert new.shape[1] > old.shape[1]
        numpy.testing.assert_allclose(new[:, : old.shape[1]], old, rtol=1e-6)
    nlp.update(make_examples(nlp), sgd=Adam(0.01))


def test_it_can_be_stored_copied_and_pickled(trained, tmp_path):
    expected = get_probabilities(trained)
    trained.to_disk(tmp_path)
    copies = [spacy.load(tmp_path), copy.deepcopy(trained), pickle.loads(pickle.dumps(trained))]
    copies.append(spacy.blank("xx").from_config(trained.config).from_bytes(trained.to_bytes()))
    for nlp in copies:
        for ours, theirs in zip(get_probabilities(nlp), expected, strict=True):
            numpy.testing.assert_array_equal(ours, theirs)


def test_empty_docs_are_no_loss(trained):
    nlp = copy.deepcopy(trained)
    losses = nlp.update(make_examples(nlp, [("", [])]), sgd=Adam(0.01))
    assert losses["rnn_ner"] == 0


def test_a_warning_comes_once_and_names_the_caller():
    nlp = make_nlp(members=3)
    predicted = words(nlp, "New York")
    predicted.set_ents([Span(predicted, 0, 2, "LOC")])
    example = Example(predicted, words(nlp, "New York", ents=["O", ""]))
    pipe = nlp.get_pipe("rnn_ner")
    scores, _ = pipe.model.begin_update([predicted])
    with pytest.warns(UserWarning, match="New York") as caught:
        pipe.get_loss([example], scores)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_gradient_has_one_for_each_member(trained):
    model = trained.get_pipe("rnn_ner").model
    scores, backprop = model.begin_update(get_docs(trained))
    with pytest.raises(ValueError, match="shorter"):
        backprop(scores[:2])


def test_what_is_no_ensemble_is_stored_as_ever():
    model = make_nlp().get_pipe("rnn_ner").model
    assert find_outputs(model) == [model.layers[-1]]
    assert [layer.name for layer in model.layers][-1] == "crf_output"


@pytest.mark.parametrize("members", [0, -1, 1.5])
def test_bad_numbers_of_members(members):
    with pytest.raises(ValueError, match="members"):
        spacy.blank("xx").add_pipe("rnn_ner", config={"model": make_config(members=members)})


@pytest.mark.parametrize(
    "listener",
    [
        {"@architectures": "spacy.Tok2VecListener.v1", "width": 16},
        {"@architectures": "spacy-rnn.BiLMListener.v1", "width": 16},
    ],
)
def test_listeners_have_no_copies(listener):
    config = {**make_config(members=2), "tok2vec": listener}
    with pytest.raises(ValueError, match=r"members.*listener"):
        spacy.blank("xx").add_pipe("rnn_ner", config={"model": config})
