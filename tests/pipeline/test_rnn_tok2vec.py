"""The shared encoder learns from every listener, each with its weight."""

import copy
import pickle

import numpy
import pytest
import spacy
from spacy.pipeline.tok2vec import Tok2Vec
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam, fix_random_seed

from ..conftest import make_tok2vec

LISTENER = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16, "upstream": "*"}
MODELS = {
    "rnn_tagger": {"@architectures": "spacy.Tagger.v2"},
    "rnn_ner": {"@architectures": "spacy-rnn.CRF.v1", "scheme": "biluo", "output": "crf"},
    "rnn_morphologizer": {"@architectures": "spacy-rnn.FactoredTagger.v1"},
    "tagger": {"@architectures": "spacy.Tagger.v2"},
}
TASKS = ["rnn_tagger", "rnn_ner", "rnn_morphologizer"]
WORDS = ["She", "saw", "Graz", "."]
ANNOTATION = {
    "rnn_tagger": {"tags": ["PRP", "VBD", "NNP", "."]},
    "rnn_ner": {"ents": ["O", "O", "B-LOC", "O"]},
    "rnn_morphologizer": {
        "pos": ["PRON", "VERB", "PROPN", "PUNCT"],
        "morphs": ["Number=Sing", "Tense=Past", "Number=Sing", ""],
    },
}
EVERYTHING = {name: value for task in TASKS for name, value in ANNOTATION[task].items()}


def make_example(nlp, annotation=EVERYTHING, words=WORDS):
    return Example(Doc(nlp.vocab, words=words), Doc(nlp.vocab, words=words, **annotation))


def make_nlp(tasks=TASKS, factory="rnn_tok2vec", steps=1, **settings):
    fix_random_seed(0)
    nlp = spacy.blank("xx")
    model = make_tok2vec()
    # Two updates with the same batch have the same gradient.
    model["embed"]["word_dropout"] = 0.0
    nlp.add_pipe(factory, name="tok2vec", config={"model": model, **settings})
    for task in tasks:
        nlp.add_pipe(task, config={"model": {**MODELS[task], "tok2vec": LISTENER}})
    nlp.initialize(lambda: [make_example(nlp)])
    # The output layers of taggers start with zeros, which have no gradient for the encoder.
    for _ in range(steps):
        nlp.update([make_example(nlp)], sgd=Adam(0.1))
    for parameter in get_parameters(nlp):
        parameter.grad = None
    return nlp


def get_parameters(nlp):
    """What is learned by gradient."""
    shims = [shim for layer in nlp.get_pipe("tok2vec").model.walk() for shim in layer.shims]
    return [p for shim in shims for p in shim.module.parameters() if p.requires_grad]


def get_weights(nlp):
    return numpy.concatenate([p.detach().numpy().ravel() for p in get_parameters(nlp)])


def get_gradient(nlp, examples=None, **kwargs):
    """The gradient of the encoder's weights."""
    nlp.update(examples or [make_example(nlp)], sgd=False, drop=0.0, **kwargs)
    gradients = [p.grad for p in get_parameters(nlp) if p.grad is not None]
    return numpy.concatenate([gradient.numpy().ravel() for gradient in gradients])


def get_vectors(nlp):
    return nlp.get_pipe("tok2vec").predict([Doc(nlp.vocab, words=WORDS)])[0]


@pytest.fixture(scope="module")
def stored():
    """A pipeline whose components have learned for a step."""
    nlp = make_nlp()
    return nlp.config, nlp.to_bytes()


def load(stored, **weights):
    config, data = copy.deepcopy(stored)
    config["components"]["tok2vec"]["loss_weights"] = weights
    nlp = spacy.blank("xx").from_config(config)
    return nlp.from_bytes(data)


def test_it_learns_through_listeners():
    nlp = make_nlp(steps=40)
    doc = nlp(Doc(nlp.vocab, words=WORDS))
    assert [t.tag_ for t in doc] == EVERYTHING["tags"]
    assert [t.pos_ for t in doc] == EVERYTHING["pos"]
    assert [(e.text, e.label_) for e in doc.ents] == [("Graz", "LOC")]


def test_the_gradient_is_that_of_spacys_component():
    tasks = ["tagger", "rnn_morphologizer"]
    ours, theirs = (make_nlp(tasks, factory) for factory in ("rnn_tok2vec", "tok2vec"))
    assert isinstance(ours.get_pipe("tok2vec"), Tok2Vec)
    losses = [{}, {}]
    gradients = [
        get_gradient(nlp, losses=each) for nlp, each in zip((ours, theirs), losses, strict=True)
    ]
    numpy.testing.assert_allclose(*gradients, atol=1e-7)
    assert numpy.abs(gradients[0]).max() > 0
    assert losses[0] == pytest.approx(losses[1])


def test_weights_scale_what_the_encoder_learns_and_nothing_else(stored):
    weights = {"rnn_tagger": 0.5, "rnn_ner": 0.0, "rnn_morphologizer": 3.0}
    alone = {
        task: get_gradient(load(stored, **{each: float(each == task) for each in TASKS}))
        for task in TASKS
    }
    weighted, plain = load(stored, **weights), load(stored)
    expected = sum(weights[task] * alone[task] for task in TASKS)
    numpy.testing.assert_allclose(get_gradient(weighted), expected, atol=1e-6)
    numpy.testing.assert_allclose(get_gradient(plain), sum(alone.values()), atol=1e-6)
    for task in ("rnn_tagger", "rnn_morphologizer"):
        layers = [nlp.get_pipe(task).model.get_ref("output_layer") for nlp in (weighted, plain)]
        numpy.testing.assert_array_equal(*(layer.get_grad("W") for layer in layers))


@pytest.mark.parametrize("task", TASKS)
def test_what_is_not_annotated_teaches_nothing(stored, task):
    nlp = load(stored)
    expected = get_gradient(load(stored, **{each: float(each == task) for each in TASKS}))
    losses = {}
    found = get_gradient(nlp, [make_example(nlp, ANNOTATION[task])], losses=losses)
    numpy.testing.assert_allclose(found, expected, atol=1e-6)
    assert numpy.abs(found).max() > 0
    for other in set(TASKS) - {task}:
        assert losses[other] == 0
        gradients = [
            layer.get_grad(name)
            for layer in nlp.get_pipe(other).model.walk()
            for name in layer.param_names
            if layer.has_grad(name)
        ]
        assert gradients and not any(gradient.any() for gradient in gradients)


def test_examples_with_different_annotation_add_up(stored):
    nlp = load(stored)
    examples = [make_example(nlp, ANNOTATION[task]) for task in TASKS]
    parts = [get_gradient(load(stored), [each]) for each in examples]
    numpy.testing.assert_allclose(get_gradient(nlp, examples), sum(parts), atol=1e-5)


@pytest.mark.parametrize("sgd", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_the_encoder_learns_while_a_component_is_frozen(stored, task, sgd):
    nlp = load(stored)
    before, optimizer = get_weights(nlp), Adam(0.01)
    for _ in range(2):
        nlp.update([make_example(nlp)], sgd=optimizer if sgd else False, exclude=[task])
        if not sgd:
            nlp.get_pipe("tok2vec").finish_update(optimizer)
    assert not numpy.allclose(get_weights(nlp), before)


def test_the_encoder_learns_from_a_batch_without_trees():
    nlp = make_nlp(["rnn_tagger"], steps=0)
    parser = {**nlp.get_factory_meta("parser").default_config["model"], "tok2vec": LISTENER}
    nlp.add_pipe("parser", config={"model": parser})
    trees = {"heads": [1, 1, 1, 1], "deps": ["nsubj", "ROOT", "obj", "punct"]}
    nlp.initialize(lambda: [make_example(nlp, {**EVERYTHING, **trees})])
    before, optimizer = get_weights(nlp), Adam(0.01)
    for _ in range(3):
        nlp.update([make_example(nlp)], sgd=optimizer)
    assert not numpy.allclose(get_weights(nlp), before)


def test_a_frozen_encoder_that_annotates_stays_as_it_is(stored):
    nlp = load(stored)
    optimizer = Adam(0.01)
    nlp.update([make_example(nlp)], sgd=optimizer)
    before = get_weights(nlp)
    # Another batch than the last one that the encoder learned from.
    other = make_example(nlp, {"tags": ["PRP", "VBD"]}, ["He", "sang"])
    losses = nlp.update([other], sgd=optimizer, exclude=["tok2vec"], annotates=["tok2vec"])
    assert losses["rnn_tagger"] > 0
    numpy.testing.assert_array_equal(get_weights(nlp), before)


def test_a_component_that_annotates_is_heard_too(stored):
    nlp = load(stored)
    expected = get_gradient(load(stored))
    numpy.testing.assert_array_equal(get_gradient(nlp, annotates=["tok2vec", *TASKS]), expected)


def test_empty_docs(stored):
    nlp = load(stored)
    empty = make_example(nlp, {}, [])
    nlp.update([empty], sgd=Adam(0.01))
    found = get_gradient(nlp, [empty, make_example(nlp), empty])
    assert numpy.isfinite(found).all()
    docs = list(nlp.pipe([Doc(nlp.vocab), Doc(nlp.vocab, words=WORDS), Doc(nlp.vocab)]))
    assert [doc.tensor.shape for doc in docs] == [(0, 16), (4, 16), (0, 16)]


def test_gradients_accumulate(stored):
    nlp = load(stored)
    once = get_gradient(nlp)
    numpy.testing.assert_allclose(get_gradient(nlp), 2 * once, rtol=1e-4, atol=1e-6)


def test_batches_are_windows_of_any_size(stored):
    nlp = load(stored)
    vectors = [
        [
            doc.tensor
            for doc in nlp.pipe((Doc(nlp.vocab, words=WORDS[:n]) for n in (4, 1, 3)), **how)
        ]
        for how in ({"batch_size": 1}, {"batch_size": 2}, {"n_process": 2})
    ]
    for others in vectors[1:]:
        for one, other in zip(vectors[0], others, strict=True):
            numpy.testing.assert_allclose(one, other, atol=1e-5)


class TestLossWeights:
    def test_an_unknown_component_is_named(self, stored):
        with pytest.raises(ValueError, match=r"'tok2vec'.*'parser'.*'rnn_tagger'"):
            make_nlp(loss_weights={"parser": 2.0})
        nlp = load(stored, rnn_tager=2.0)
        with pytest.raises(ValueError, match=r"a weight for 'rnn_tager'"):
            nlp.update([make_example(nlp)])

    @pytest.mark.parametrize("weights", [{"rnn_tagger": -1.0}, {"rnn_tagger": "high"}, 2.0])
    def test_invalid(self, weights):
        with pytest.raises(ValueError, match="loss_weights"):
            spacy.blank("xx").add_pipe("rnn_tok2vec").loss_weights = weights

    def test_a_disabled_component_may_have_one(self, stored):
        nlp = load(stored, rnn_ner=2.0)
        with nlp.select_pipes(disable=["rnn_ner"]):
            nlp._link_components()
            nlp.update([make_example(nlp)])

    def test_they_are_stored_and_may_be_overridden(self, tmp_path, stored):
        load(stored, rnn_ner=0.3).to_disk(tmp_path)
        assert spacy.load(tmp_path).get_pipe("tok2vec").loss_weights == {
            "rnn_ner": pytest.approx(0.3)
        }
        name = "components.tok2vec.loss_weights"
        again = spacy.load(tmp_path, config={name: {"rnn_ner": 2.0}})
        assert again.get_pipe("tok2vec").loss_weights == {"rnn_ner": 2.0}

    def test_components_do_not_share_them(self):
        first, second = (spacy.blank("xx").add_pipe("rnn_tok2vec") for _ in range(2))
        first.loss_weights["rnn_ner"] = 2.0
        assert second.loss_weights == {}


@pytest.mark.parametrize("via", ["bytes", "disk", "pickle", "deepcopy"])
@pytest.mark.parametrize("exclude", [[], ["rnn_morphologizer"]])
def test_serialization_after_an_update(tmp_path, stored, via, exclude):
    nlp = load(stored)
    # Without its last listener, a batch is not finished.
    nlp.update([make_example(nlp)], sgd=False, exclude=exclude)
    if via == "bytes":
        fresh = spacy.blank("xx").from_config(nlp.config)
        fresh.from_bytes(nlp.to_bytes())
    elif via == "disk":
        nlp.to_disk(tmp_path)
        fresh = spacy.load(tmp_path)
    else:
        fresh = pickle.loads(pickle.dumps(nlp)) if via == "pickle" else copy.deepcopy(nlp)
    numpy.testing.assert_array_equal(get_vectors(fresh), get_vectors(nlp))
    assert fresh.get_pipe("tok2vec").listening_components == TASKS
    fresh.update([make_example(fresh)], sgd=Adam(0.01))


def test_replaced_listeners(tmp_path, stored):
    nlp = load(stored)
    doc = Doc(nlp.vocab, words=WORDS)
    before = [t.tag_ for t in nlp(doc.copy())]
    nlp.replace_listeners("tok2vec", "rnn_tagger", ["model.tok2vec"])
    assert [t.tag_ for t in nlp(doc.copy())] == before
    nlp.to_disk(tmp_path)
    other = spacy.blank("xx")
    other.add_pipe("rnn_tagger", source=spacy.load(tmp_path))
    assert [t.tag_ for t in other(Doc(other.vocab, words=WORDS))] == before
    nlp.update([make_example(nlp)], sgd=Adam(0.01))


def test_components_with_a_source(stored):
    source, nlp = load(stored, rnn_tagger=2.0), spacy.blank("xx")
    nlp.add_pipe("tok2vec", source=source)
    nlp.add_pipe("rnn_tagger", source=source)
    assert nlp.get_pipe("tok2vec").listening_components == ["rnn_tagger"]
    nlp.update([make_example(nlp)], sgd=Adam(0.01))
    numpy.testing.assert_array_equal(get_vectors(nlp), get_vectors(source))


def test_a_missing_file_is_named(tmp_path, stored):
    load(stored).to_disk(tmp_path)
    (tmp_path / "tok2vec" / "model").unlink()
    with pytest.raises(ValueError, match=r"'tok2vec'.*no file '.*tok2vec.model'"):
        spacy.load(tmp_path)


def test_same_steps_same_weights():
    first, second = (make_nlp(steps=3).get_pipe("tok2vec").model.to_bytes() for _ in range(2))
    assert first == second
