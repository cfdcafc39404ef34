"""What spaCy promises of its tagger, and we of every component."""

import copy
import json
import pickle
from pathlib import Path

import numpy
import pytest
import spacy
from spacy.pipeline.tagger import Tagger
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam

from ..conftest import SENTENCES, SMALL_TAGGER, make_examples, make_nlp


def get_tags(nlp, docs):
    return [[t.tag_ for t in doc] for doc in nlp.pipe(docs)]


def blank_docs(nlp, sentences=SENTENCES):
    return [
        Doc(nlp.vocab, words=[t.rsplit("/", 1)[0] for t in sentence.split()])
        for sentence in sentences
    ]


def gold_tags():
    return [[t.rsplit("/", 1)[1] for t in sentence.split()] for sentence in SENTENCES]


def test_it_learns_its_corpus(trained_nlp):
    assert get_tags(trained_nlp, blank_docs(trained_nlp)) == gold_tags()
    scores = trained_nlp.evaluate(make_examples(trained_nlp))
    assert scores["tag_acc"] == 1.0


def test_it_is_spacys_tagger():
    pipe = make_nlp().get_pipe("rnn_tagger")
    assert isinstance(pipe, Tagger)
    nlp = make_nlp()
    assert nlp.get_pipe_meta("rnn_tagger").assigns == ["token.tag"]
    assert nlp.get_pipe_meta("rnn_tagger").default_score_weights == {"tag_acc": 1.0}


def test_the_default_model_works():
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_tagger")
    examples = make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    losses = {}
    nlp.update(examples, sgd=optimizer, losses=losses)
    assert losses["rnn_tagger"] > 0
    assert nlp("The cat sat.")[1].tag_


def test_same_seed_same_weights():
    A, B, other = make_nlp(steps=3), make_nlp(steps=3), make_nlp(steps=3, seed=1)
    model = [n.get_pipe("rnn_tagger").model.to_bytes() for n in (A, B, other)]
    assert model[0] == model[1] != model[2]


@pytest.mark.parametrize("via", ["bytes", "disk", "pickle", "deepcopy"])
@pytest.mark.parametrize("steps", [0, 2])
def test_serialization_into_a_fresh_pipeline(tmp_path, via, steps):
    nlp = make_nlp(steps=steps)
    docs = blank_docs(nlp)
    scores = nlp.get_pipe("rnn_tagger").model.predict(docs)
    if via == "bytes":
        fresh = spacy.blank("xx").from_config(nlp.config)
        fresh.from_bytes(nlp.to_bytes())
    elif via == "disk":
        nlp.to_disk(tmp_path)
        fresh = spacy.load(tmp_path)
    else:
        fresh = pickle.loads(pickle.dumps(nlp)) if via == "pickle" else copy.deepcopy(nlp)
    pipe = fresh.get_pipe("rnn_tagger")
    assert pipe.labels == nlp.get_pipe("rnn_tagger").labels
    for A, B in zip(pipe.model.predict(blank_docs(fresh)), scores, strict=True):
        numpy.testing.assert_array_equal(A, B)
    assert pipe.model.to_bytes() == nlp.get_pipe("rnn_tagger").model.to_bytes()


def test_a_trained_pipeline_is_loaded_in_half_precision(tmp_path, trained_nlp):
    trained_nlp.to_disk(tmp_path)
    name = "components.rnn_tagger.model.tok2vec.encode.mixed_precision"
    half = spacy.load(tmp_path, config={name: True})
    shims = [shim for node in half.get_pipe("rnn_tagger").model.walk() for shim in node.shims]
    assert any(shim.mixed_precision for shim in shims)
    assert get_tags(half, blank_docs(half)) == get_tags(trained_nlp, blank_docs(trained_nlp))


def test_no_file_of_a_pipeline_is_a_pickle(tmp_path, nlp):
    nlp.to_disk(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert not path.read_bytes().startswith(b"\x80"[:1] + b"\x04"), path
            assert b"torch._utils" not in path.read_bytes(), path


class TestBrokenFiles:
    @pytest.fixture
    def path(self, tmp_path, nlp):
        nlp.to_disk(tmp_path)
        return tmp_path

    def test_missing(self, path):
        (path / "rnn_tagger" / "model").unlink()
        with pytest.raises(ValueError, match=r"no file '.*rnn_tagger.model'"):
            spacy.load(path)

    @pytest.mark.parametrize("size", [0, 10, 5000])
    def test_truncated(self, path, size):
        model = path / "rnn_tagger" / "model"
        model.write_bytes(model.read_bytes()[:size])
        with pytest.raises(ValueError, match=r"rnn_tagger.*from '.*rnn_tagger.model'"):
            spacy.load(path)

    def test_foreign(self, path):
        (path / "rnn_tagger" / "model").write_bytes(spacy.blank("xx").to_bytes())
        with pytest.raises(ValueError, match=r"from '.*rnn_tagger.model'"):
            spacy.load(path)

    def test_of_other_shapes(self, path):
        config = json.loads(json.dumps(spacy.util.load_config(path / "config.cfg")))
        encode = config["components"]["rnn_tagger"]["model"]["tok2vec"]["encode"]
        encode["width"] = 32
        spacy.Config(config).to_disk(path / "config.cfg")
        with pytest.raises(ValueError, match=r"rnn_tagger.model': .*32"):
            spacy.load(path)

    @pytest.mark.parametrize(
        "damage", [Path.unlink, lambda path: path.write_text('{"labels": ["D')]
    )
    def test_the_file_at_fault_is_named(self, path, damage):
        damage(path / "rnn_tagger" / "cfg")
        with pytest.raises(ValueError, match=r"'.*rnn_tagger.cfg'"):
            spacy.load(path)

    def test_damaged_bytes(self, nlp):
        pipe = nlp.get_pipe("rnn_tagger")
        with pytest.raises(ValueError, match="rnn_tagger"):
            pipe.from_bytes(pipe.to_bytes()[:300])


class TestLabels:
    def test_label_files(self):
        nlp = spacy.blank("xx")
        pipe = nlp.add_pipe(
            "rnn_tagger", config={"model": spacy.Config().from_str(SMALL_TAGGER)["model"]}
        )
        examples = make_examples(nlp)
        labels = sorted({tag for tags in gold_tags() for tag in tags}, reverse=True)
        pipe.initialize(lambda: examples, nlp=nlp, labels=labels)
        assert list(pipe.labels) == labels == list(pipe.label_data)

    def test_labels_added_later(self, nlp):
        with pytest.raises(ValueError, match="E922"):
            nlp.get_pipe("rnn_tagger").add_label("NEW")

    def test_unknown_labels_are_named(self, nlp):
        example = make_examples(nlp, ["A/DT whatchamacallit/XYZ ./."])
        with pytest.raises(ValueError, match=r"'XYZ' of token 1 \('whatchamacallit'\)"):
            nlp.update(example)


@pytest.mark.parametrize(
    "change", ["none", "missing", "negative", "misaligned", "smoothed", "empty"]
)
def test_the_loss_is_spacys(nlp, change):
    pipe = nlp.get_pipe("rnn_tagger")
    examples = make_examples(nlp)
    if change in ("missing", "negative"):
        examples[0].reference[1].tag_ = "" if change == "missing" else "!NN"
    elif change == "misaligned":
        words = [t.text for t in examples[0].reference]
        examples[0] = Example(Doc(nlp.vocab, words=["".join(words[:2]), *words[2:]]), examples[0].y)
    elif change == "smoothed":
        pipe.cfg["label_smoothing"] = 0.1
    elif change == "empty":
        examples.append(Example(Doc(nlp.vocab), Doc(nlp.vocab)))
    scores, _ = pipe.model.begin_update([eg.predicted for eg in examples])
    before = [Y.copy() for Y in scores]
    loss, gradient = pipe.get_loss(examples, scores)
    expected_loss, expected = Tagger.get_loss(pipe, examples, scores)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for mine, theirs, Y, old in zip(gradient, expected, scores, before, strict=True):
        numpy.testing.assert_allclose(mine, theirs, atol=1e-6)
        numpy.testing.assert_array_equal(Y, old)


def test_a_negative_tag_among_the_labels_is_still_negative():
    nlp = spacy.blank("xx")
    pipe = nlp.add_pipe("rnn_tagger")
    words = ["a", "b", "c"]
    gold = Doc(nlp.vocab, words=words, tags=["N", "V", "!N"])
    examples = [Example(Doc(nlp.vocab, words=words), gold)]
    nlp.initialize(lambda: examples)
    assert "!N" in pipe.labels
    scores, _ = pipe.model.begin_update([eg.predicted for eg in examples])
    loss, gradient = pipe.get_loss(examples, scores)
    expected_loss, expected = Tagger.get_loss(pipe, examples, scores)
    assert loss == pytest.approx(expected_loss)
    numpy.testing.assert_allclose(gradient[0], expected[0], atol=1e-6)


def test_missing_tags_have_no_gradient(nlp):
    pipe = nlp.get_pipe("rnn_tagger")
    doc = Doc(nlp.vocab, words=["The", "cat", "sat"], tags=["DT", "", "VBD"])
    example = Example(Doc(nlp.vocab, words=["The", "cat", "sat"]), doc)
    scores, _ = pipe.model.begin_update([example.predicted])
    _, gradient = pipe.get_loss([example], scores)
    assert (gradient[0][1] == 0).all() and (gradient[0][0] != 0).any()


def test_negative_tags(nlp):
    pipe = nlp.get_pipe("rnn_tagger")
    doc = Doc(nlp.vocab, words=["The", "cat"], tags=["!NN", "NN"])
    example = Example(Doc(nlp.vocab, words=["The", "cat"]), doc)
    scores, _ = pipe.model.begin_update([example.predicted])
    _, gradient = pipe.get_loss([example], scores)
    assert gradient[0][0, pipe.labels.index("NN")] > 0


def test_misaligned_tokens(nlp):
    reference = Doc(nlp.vocab, words=["New", "York", "sang"], tags=["NNP", "NNP", "VBD"])
    predicted = Doc(nlp.vocab, words=["New York", "sa", "ng"])
    losses = nlp.update([Example(predicted, reference)])
    assert numpy.isfinite(losses["rnn_tagger"])


def test_label_smoothing_and_overwrite():
    smooth = make_nlp(label_smoothing=0.1, overwrite=True, steps=1)
    assert smooth.get_pipe("rnn_tagger").cfg["label_smoothing"] == 0.1
    doc = Doc(smooth.vocab, words=["The"], tags=["ZZ"])
    assert smooth(doc)[0].tag_ != "ZZ"
    keep = make_nlp(steps=1)
    assert keep(Doc(keep.vocab, words=["The"], tags=["ZZ"]))[0].tag_ == "ZZ"


class TagReader:
    """Sees what the components before it have set in training."""

    def __init__(self):
        self.seen = []

    def __call__(self, doc):
        return doc

    def update(self, examples, **kwargs):
        self.seen.append([t.tag_ for eg in examples for t in eg.predicted])


def test_frozen_and_annotating(nlp):
    pipe = nlp.get_pipe("rnn_tagger")
    before = pipe.model.to_bytes()
    spacy.Language.factory("tag_reader", func=lambda nlp, name: TagReader())
    reader = nlp.add_pipe("tag_reader")
    examples = make_examples(nlp)
    nlp.update(examples, exclude=["rnn_tagger"])
    nlp.update(examples, exclude=["rnn_tagger"], annotates=["rnn_tagger"])
    expected = [t.tag_ for doc in nlp.pipe(blank_docs(nlp)) for t in doc]
    assert set(reader.seen[0]) == {""}
    assert reader.seen[1] == expected
    assert pipe.model.to_bytes() == before


def test_resume_training(nlp):
    examples = make_examples(nlp)
    optimizer = nlp.resume_training()
    before = nlp.evaluate(examples)["tag_acc"]
    for _ in range(20):
        nlp.update(examples, sgd=optimizer)
    assert nlp.evaluate(examples)["tag_acc"] >= before
    nlp.rehearse(examples, sgd=optimizer)


def test_an_uninitialised_pipeline_says_so():
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_tagger")
    with pytest.raises(ValueError, match="initialize"):
        nlp("Some text.")


def test_use_params_applies_averages(nlp):
    optimizer = Adam(0.05, use_averages=True)
    for _ in range(3):
        nlp.update(make_examples(nlp), sgd=optimizer)
    pipe = nlp.get_pipe("rnn_tagger")
    docs = blank_docs(nlp)
    last = pipe.model.predict(docs)[0]
    with nlp.use_params(optimizer.averages):
        averaged = pipe.model.predict(docs)[0]
        stored = pipe.to_bytes()
    assert not numpy.allclose(last, averaged)
    numpy.testing.assert_array_equal(pipe.model.predict(docs)[0], last)
    pipe.from_bytes(stored)
    numpy.testing.assert_array_equal(pipe.model.predict(docs)[0], averaged)
