"""What spaCy promises of its text classifiers, and what ours add."""

import copy
import pickle
import subprocess
import sys
from contextlib import contextmanager
from html import escape

import numpy
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.cli.find_threshold import find_threshold
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from thinc.api import Adam, Model, fix_random_seed

from spacy_rnn.architectures.encoder import build_rnn_encoder
from spacy_rnn.architectures.textcat import build_rnn_text_classifier
from spacy_rnn.layers.ensemble import ensemble
from spacy_rnn.pipeline.attention_html import render_attention

from ..conftest import make_tok2vec, train_component

TEXTS = [
    ("A good, good film.", ["GOOD", "FILM"]),
    ("What a bad film!", ["BAD", "FILM"]),
    ("Bad soup. Really bad.", ["BAD"]),
    ("The soup was good", ["GOOD"]),
    ("good", ["GOOD"]),
]
BOW = {"@architectures": "spacy.TextCatBOW.v3", "length": 128, "no_output_layer": True}
REDUCE = {
    "@architectures": "spacy.TextCatReduce.v1",
    "exclusive_classes": True,
    "use_reduce_first": False,
    "use_reduce_last": False,
    "use_reduce_max": False,
    "use_reduce_mean": True,
    "tok2vec": {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": 8,
        "depth": 1,
        "embed_size": 100,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": False,
    },
}
KINDS = ["rnn_textcat", "rnn_textcat_multilabel"]
ALL = ["last", "mean", "max", "attention"]


def make_model(kind, *, linear=False, **model):
    exclusive = kind == "rnn_textcat"
    model.setdefault("pooling", ALL)
    model |= {"@architectures": "spacy-rnn.RNNTextCat.v1", "exclusive_classes": exclusive}
    model["tok2vec"] = make_tok2vec()
    model["tok2vec"]["encode"]["cell"] = "gru"
    # None is said, as the component's own model has one.
    bow = {**BOW, "exclusive_classes": exclusive, "ngram_size": 2}
    model["linear_model"] = bow if linear else None
    return model


def make_cats(kind, labels):
    known = ["GOOD", "BAD"] if kind == "rnn_textcat" else ["GOOD", "BAD", "FILM"]
    return {label: float(label in labels) for label in known}


def make_examples(nlp, kind, texts=TEXTS):
    return [
        Example.from_dict(nlp.make_doc(text), {"cats": make_cats(kind, labels)})
        for text, labels in texts
    ]


def make_nlp(kind="rnn_textcat", steps=0, seed=0, component=None, **model):
    config = {"model": make_model(kind, **model), **(component or {})}
    return train_component(
        kind, config, lambda nlp: make_examples(nlp, kind), steps=steps, seed=seed, learn_rate=0.02
    )


@pytest.fixture(scope="module", params=KINDS)
def trained(request):
    return make_nlp(request.param, steps=60, component={"attention_key": "looked_at"})


@contextmanager
def count_calls(name):
    """Collect the arguments that a function is called with."""
    calls, (module, function) = [], name.rsplit(".", 1)
    original = getattr(sys.modules[module], function)

    def spy(*args, **kwargs):
        calls.append(args)
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(name, spy)
        yield calls


def read(docs):
    return numpy.asarray([list(doc.cats.values()) for doc in docs])


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_its_corpus(kind, linear):
    nlp = make_nlp(kind, steps=60, linear=linear)
    assert len(nlp.get_pipe(kind).model.layers) == 1 + linear
    scores = read(nlp.pipe([text for text, _ in TEXTS]))
    gold = [list(make_cats(kind, labels).values()) for _, labels in TEXTS]
    numpy.testing.assert_allclose(scores, gold, atol=0.2)
    assert nlp.evaluate(make_examples(nlp, kind))["cats_score"] == 1.0
    if kind == "rnn_textcat":
        numpy.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_spacys_component(kind):
    nlp = spacy.blank("xx")
    pipe = nlp.add_pipe(kind)
    spacys = nlp.add_pipe(kind.removeprefix("rnn_"))
    assert isinstance(pipe, type(spacys))
    ours, theirs = nlp.get_pipe_meta(pipe.name), nlp.get_pipe_meta(spacys.name)
    assert ours.default_score_weights == theirs.default_score_weights
    assert ours.assigns == theirs.assigns
    expected = {"attention_key": None, **theirs.default_config}
    assert {**ours.default_config, "model": None} == {**expected, "model": None}


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_model_works(kind):
    nlp = spacy.blank("xx")
    nlp.add_pipe(kind)
    examples = make_examples(nlp, kind)
    optimizer = nlp.initialize(lambda: examples)
    losses = {}
    nlp.update(examples, sgd=optimizer, losses=losses)
    assert losses[kind] > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("linear", [False, True])
def test_the_gradient_of_scores_is_that_of_its_own_cross_entropy(kind, linear):
    model = make_model(kind, linear=linear)
    model["tok2vec"]["embed"]["word_dropout"] = 0.0
    nlp = make_nlp(kind, steps=2, component={"model": model})
    pipe, examples = nlp.get_pipe(kind), make_examples(nlp, kind)
    docs = [eg.predicted for eg in examples]
    truths, _ = pipe._examples_to_truth(examples)
    bias = pipe.model.get_ref("output_layer").get_param("b")

    def get_loss():
        scores = pipe.model.layers[0].predict(docs).astype("float64")
        Y = numpy.exp(scores) if kind == "rnn_textcat" else 1 / (1 + numpy.exp(-scores))
        if kind == "rnn_textcat":
            Y /= Y.sum(axis=1, keepdims=True)
        if kind == "rnn_textcat":
            return -(truths * numpy.log(Y)).sum()
        return -(truths * numpy.log(Y) + (1 - truths) * numpy.log(1 - Y)).sum()

    scores, backprop = pipe.model.begin_update(docs)
    backprop(pipe.get_loss(examples, scores)[1])
    gradient = pipe.model.get_ref("output_layer").get_grad("b")
    for i in range(len(bias)):
        losses = []
        for step in (-1e-2, 2e-2):
            bias[i] += step
            losses.append(get_loss())
        bias[i] -= 1e-2
        assert gradient[i] == pytest.approx((losses[1] - losses[0]) / 2e-2, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_confident_vote_does_not_hide_a_member_that_is_wrong(exclusive):
    sure, wrong = numpy.asarray([[17.0, 0.0]], "f"), numpy.asarray([[-1.0, 0.0]], "f")
    gradients = []

    def member(scores):
        forward = lambda model, X, is_train: (scores, gradients.append)  # noqa: E731
        return Model("member", forward, dims={"nO": 2})

    truths = numpy.asarray([[1.0, 0.0]], "f")
    Y, backprop = ensemble([member(sure), member(wrong)], exclusive=exclusive)([None], True)
    backprop(Y - truths)
    powers = numpy.exp(wrong)
    own = powers / powers.sum() if exclusive else powers / (1 + powers)
    numpy.testing.assert_allclose(gradients[1], own - truths, atol=1e-4)


@settings(max_examples=10)
@given(
    texts=st.lists(st.sampled_from([text for text, _ in TEXTS] + ["", " \n "]), max_size=12),
    batch_size=st.integers(1, 5),
)
def test_categories_do_not_depend_on_the_batch(trained, texts, batch_size):
    together = list(trained.pipe(texts, batch_size=batch_size))
    for doc, text in zip(together, texts, strict=True):
        alone = trained(text)
        numpy.testing.assert_allclose(read([doc]), read([alone]), atol=1e-5)
        if len(doc):
            weights = doc.user_data["looked_at"]
            numpy.testing.assert_allclose(weights, alone.user_data["looked_at"], atol=1e-5)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_empty_docs_have_no_category(kind, linear):
    nlp = make_nlp(kind, steps=2, linear=linear)
    for texts in (["", ""], ["", "good", ""], ["good", ""], [""]):
        for doc in nlp.pipe(texts):
            assert set(doc.cats) == set(nlp.get_pipe(kind).labels)
            assert any(doc.cats.values()) == (len(doc) > 0)
    with_empty = [("", ["GOOD"]), *TEXTS, ("", ["BAD"])]
    for texts in (with_empty, with_empty[:1]):
        examples = make_examples(nlp, kind, texts)
        nlp.get_pipe(kind).initialize(lambda examples=examples: examples, nlp=nlp)
        assert [bool(doc.cats) for doc in nlp.pipe(["good", ""])] == [True, True]
    examples = make_examples(nlp, kind, with_empty)
    assert numpy.isfinite(nlp.update(examples)[kind])
    assert nlp.update(examples[:1])[kind] == 0


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_label_added_later_keeps_old_scores_and_is_learned(kind, linear):
    nlp = make_nlp(kind, steps=20, linear=linear)
    pipe = nlp.get_pipe(kind)
    texts = [text for text, _ in TEXTS] + [""]
    before = read(nlp.pipe(texts))
    assert pipe.add_label("SOUP") == 1 and pipe.add_label("SOUP") == 0
    after = read(nlp.pipe(texts))
    numpy.testing.assert_allclose(after[:, :-1], before, atol=1e-6)
    assert (after[:, -1] < 0.05).all()
    stored = spacy.blank("xx")
    stored.add_pipe(kind, config={"model": make_model(kind, linear=linear)})
    stored.from_bytes(nlp.to_bytes())
    numpy.testing.assert_array_equal(read(stored.pipe(texts)), after)
    examples = make_examples(nlp, kind)
    for eg, (text, _) in zip(examples, TEXTS, strict=True):
        is_soup = "soup" in text
        others = 0.0 if is_soup and kind == "rnn_textcat" else 1.0
        eg.reference.cats = {label: others * y for label, y in eg.reference.cats.items()}
        eg.reference.cats["SOUP"] = float(is_soup)
    optimizer = Adam(0.01)
    for _ in range(100):
        nlp.update(examples, sgd=optimizer)
    assert nlp("Bad soup. Really bad.").cats["SOUP"] > 0.5 > nlp("What a bad film!").cats["SOUP"]


def test_missing_labels_have_no_gradient():
    nlp = make_nlp("rnn_textcat_multilabel", steps=2)
    pipe = nlp.get_pipe("rnn_textcat_multilabel")
    example = Example.from_dict(nlp.make_doc("good"), {"cats": {"GOOD": 1.0}})
    scores, _ = pipe.model.begin_update([example.predicted])
    _, gradient = pipe.get_loss([example], scores)
    assert [label for label, d in zip(pipe.labels, gradient[0], strict=True) if d] == ["GOOD"]


def test_positive_label():
    nlp = spacy.blank("xx")
    pipe = nlp.add_pipe("rnn_textcat", config={"model": make_model("rnn_textcat")})
    examples = make_examples(nlp, "rnn_textcat")
    pipe.initialize(lambda: examples, nlp=nlp, positive_label="BAD")
    assert pipe.cfg["positive_label"] == "BAD"
    assert nlp.evaluate(examples)["cats_score_desc"] == "F (BAD)"


def test_a_threshold_is_found_and_counts(tmp_path):
    kind = "rnn_textcat_multilabel"
    nlp = make_nlp(kind, steps=4)
    nlp.to_disk(tmp_path / "model")
    docs = [eg.reference for eg in make_examples(nlp, kind)]
    DocBin(docs=docs, store_user_data=True).to_disk(tmp_path / "dev.spacy")
    args = (str(tmp_path / "model"), tmp_path / "dev.spacy", kind, "threshold", "cats_macro_f")
    best, score, scores = find_threshold(*args)
    assert score == max(scores.values()) > min(scores.values())
    nlp.get_pipe(kind).cfg["threshold"] = best
    assert nlp.evaluate(make_examples(nlp, kind))["cats_macro_f"] == pytest.approx(score)


@pytest.mark.parametrize("via", ["bytes", "disk", "pickle", "deepcopy"])
@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_serialization_into_a_fresh_pipeline(tmp_path, kind, via, steps):
    nlp = make_nlp(kind, steps=2, linear=True)
    other = make_nlp(kind, steps=steps, seed=1, linear=True)
    if via == "bytes":
        other.from_bytes(nlp.to_bytes())
    elif via == "disk":
        nlp.to_disk(tmp_path)
        other.from_disk(tmp_path)
        loaded = spacy.load(tmp_path)
        numpy.testing.assert_array_equal(read([loaded("good")]), read([nlp("good")]))
    elif via == "pickle":
        other = pickle.loads(pickle.dumps(nlp))
    else:
        other = spacy.blank("xx")
        other.add_pipe(kind, source=copy.deepcopy(nlp))
    texts = [text for text, _ in TEXTS] + [""]
    # What is kept of words differs, and so what is computed together.
    numpy.testing.assert_allclose(read(other.pipe(texts)), read(nlp.pipe(texts)), atol=1e-6)


def test_a_missing_file_is_named(tmp_path):
    nlp = make_nlp()
    nlp.to_disk(tmp_path)
    (tmp_path / "rnn_textcat" / "model").unlink()
    with pytest.raises(ValueError, match=r"no file .*rnn_textcat.*model"):
        spacy.load(tmp_path)


def test_weights_with_other_pooling_are_refused():
    stored = make_nlp(pooling=["mean", "max"]).get_pipe("rnn_textcat").to_bytes()
    with pytest.raises(ValueError, match="pooling"):
        make_nlp(pooling=["last", "mean"]).get_pipe("rnn_textcat").from_bytes(stored)


def test_same_seed_same_weights():
    weights = [make_nlp(steps=2).get_pipe("rnn_textcat").model.to_bytes() for _ in range(2)]
    assert weights[0] == weights[1]


def test_two_classifiers_frozen_and_rehearsed():
    nlp = make_nlp("rnn_textcat_multilabel", steps=2)
    first = nlp.get_pipe("rnn_textcat_multilabel")
    before = first.model.to_bytes()
    nlp.add_pipe("rnn_textcat", config={"model": make_model("rnn_textcat")})
    examples = make_examples(nlp, "rnn_textcat")
    second = nlp.get_pipe("rnn_textcat")
    second.initialize(lambda: examples, nlp=nlp)
    optimizer = Adam(0.01)
    nlp.update(examples, sgd=optimizer, exclude=[first.name], annotates=[first.name])
    assert first.model.to_bytes() == before
    optimizer = nlp.resume_training()
    losses = nlp.rehearse(examples, sgd=optimizer)
    assert numpy.isfinite(losses["rnn_textcat"])


def test_many_processes_right_after_training():
    nlp = make_nlp(steps=2)
    texts = [text for text, _ in TEXTS] * 3
    expected = read(nlp.pipe(texts))
    found = read(nlp.pipe(texts, n_process=2, batch_size=4))
    numpy.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_listener_feeds_it():
    nlp = spacy.blank("xx")
    model = make_model("rnn_textcat")
    nlp.add_pipe("tok2vec", config={"model": model["tok2vec"]})
    model["tok2vec"] = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16}
    nlp.add_pipe("rnn_textcat", config={"model": model})
    examples = make_examples(nlp, "rnn_textcat")
    nlp.initialize(lambda: examples)
    optimizer = Adam(0.02)
    for _ in range(60):
        nlp.update(examples, sgd=optimizer)
    assert nlp.evaluate(examples)["cats_score"] == 1.0
    before = read([nlp("A good film.")])
    (weights,) = nlp.get_pipe("rnn_textcat").get_attention([nlp("A good film.")])
    assert weights.std() > 1e-3
    with pytest.raises(ValueError, match="listens to a tok2vec"):
        nlp.get_pipe("rnn_textcat").get_attention([nlp.make_doc("A good film.")])
    nlp.replace_listeners("tok2vec", "rnn_textcat", ["model.tok2vec"])
    numpy.testing.assert_allclose(read([nlp("A good film.")]), before, atol=1e-6)


@pytest.mark.parametrize("cell", ["gru", "lstm", "elman"])
def test_a_huge_doc_is_the_same_in_pieces(cell):
    scores, stored = [], None
    for max_tokens in (10**6, 501):
        config = make_model("rnn_textcat", linear=True)
        config["tok2vec"]["encode"] |= {"max_tokens_in_memory": max_tokens, "cell": cell}
        nlp = make_nlp(steps=2, component={"model": config})
        stored = stored or nlp.to_bytes()
        nlp.from_bytes(stored)
        doc = Doc(nlp.vocab, words=TEXTS[0][0].split() * 6001)
        scores.append(read([nlp(doc)]))
    numpy.testing.assert_allclose(*scores, atol=1e-5)


HUGE_DOC = """
import random, resource, sys, spacy
from spacy.tokens import Doc

def get_peak():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)

nlp = spacy.load(sys.argv[1])
list(nlp.pipe(["A good film.", "What a bad film!"]))
words = [f"word{i}" for i in range(20_000)]
doc = Doc(nlp.vocab, words=random.Random(0).choices(words, k=200_000))
before = get_peak()
nlp.get_pipe("rnn_textcat")(doc)
assert abs(sum(doc.cats.values()) - 1) < 1e-5
print(get_peak() - before)
"""


@pytest.mark.slow
def test_a_doc_of_200_000_tokens_takes_less_than_a_gigabyte(tmp_path):
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_textcat", config={"model": {"pooling": ALL}})
    nlp.initialize(lambda: make_examples(nlp, "rnn_textcat"))
    nlp.to_disk(tmp_path)
    command = [sys.executable, "-c", HUGE_DOC, str(tmp_path)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert float(run.stdout) < 1000


def test_training_in_pieces_learns():
    config = make_model("rnn_textcat")
    config["tok2vec"]["encode"] |= {"bptt_k1": 2, "bptt_k2": 4}
    nlp = spacy.blank("xx")
    fix_random_seed(0)
    nlp.add_pipe("rnn_textcat", config={"model": config})
    examples = make_examples(nlp, "rnn_textcat")
    nlp.initialize(lambda: examples)
    optimizer = Adam(0.02)
    with count_calls("spacy_rnn.modules.rnn.encoder_stack.run_truncated") as calls:
        for _ in range(60):
            nlp.update(examples, sgd=optimizer)
    # In each of the two layers
    assert len(calls) == 120
    assert nlp.evaluate(examples)["cats_score"] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_training_on_parts_of_texts_learns(kind):
    nlp = make_nlp(kind, max_tokens_in_training=3)
    # None of the parts is a whole text.
    examples = make_examples(nlp, kind, [(f"{text} " * 4, labels) for text, labels in TEXTS])
    optimizer = Adam(0.02)
    with count_calls("spacy_rnn.layers.pool.join") as calls:
        for _ in range(60):
            nlp.update(examples, sgd=optimizer)
    pooled = [len(X) for _, Xs in calls for X in Xs if X.shape[1] == 16]
    assert set(pooled) == {3}
    assert nlp.evaluate(examples)["cats_score"] == 1.0
    # Weights are the same, whatever the setting.
    stored = make_nlp(kind).from_bytes(nlp.to_bytes())
    texts = [eg.text for eg in examples]
    numpy.testing.assert_array_equal(read(stored.pipe(texts)), read(nlp.pipe(texts)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bag_of_words_reads_all_of_a_text(kind):
    nlp = make_nlp(kind, linear=True, max_tokens_in_training=3)
    examples = make_examples(nlp, kind, [(f"{text} " * 4, labels) for text, labels in TEXTS])
    bag = nlp.get_pipe(kind).model.layers[1]
    seen = []
    forward = bag._func
    bag._func = lambda model, docs, is_train: seen.append(docs) or forward(model, docs, is_train)
    nlp.update(examples, sgd=Adam(0.02))
    assert [list(map(len, docs)) for docs in seen] == [[len(eg) for eg in examples]]


@pytest.mark.parametrize("kind", KINDS)
def test_rehearsal_reads_whole_texts(kind):
    config = make_model(kind, max_tokens_in_training=1)
    nlp = make_nlp(kind, steps=60, component={"model": config})
    examples = make_examples(nlp, kind)
    optimizer = nlp.resume_training()
    optimizer.learn_rate = 0.0
    losses = nlp.rehearse(examples, sgd=optimizer)
    # The model is still its own teacher.
    assert losses[kind] == pytest.approx(0.0, abs=1e-9)


def test_attention_is_stored_and_drawn(trained):
    doc = trained("A <good> film.\n")
    weights = doc.user_data["looked_at"]
    assert weights.shape == (len(doc), 1) and weights.sum() == pytest.approx(1.0)
    assert trained("").user_data["looked_at"].shape == (0, 1)
    (same,) = trained.get_pipe(trained.pipe_names[0]).get_attention([doc])
    numpy.testing.assert_array_equal(same, weights)
    html = render_attention([doc, trained("")], "looked_at")
    assert html.startswith("<!DOCTYPE html>") and html.count("<figure>") == 2
    assert "&lt;" in html and "<good>" not in html
    # The token with the highest weight has the full colour.
    best = doc[int(weights.argmax())]
    marks = {part.split("</mark>")[0] for part in html.split("<mark ")[1:]}
    assert any(", 1.00)" in mark and mark.endswith(">" + escape(best.text)) for mark in marks)
    figure = render_attention(doc, "looked_at", labels=["GOOD"], page=False)
    assert figure.startswith("<figure>") and "GOOD" in figure and "BAD" not in figure
    stored = Doc(trained.vocab).from_bytes(doc.to_bytes())
    numpy.testing.assert_array_equal(stored.user_data["looked_at"], weights)


def test_attention_that_is_not_there():
    nlp = make_nlp(pooling=["mean"])
    with pytest.raises(ValueError, match=r"'attention'.*pooling"):
        nlp.get_pipe("rnn_textcat").get_attention([nlp.make_doc("x")])
    with pytest.raises(ValueError, match="attention_key = 'looked_at'"):
        render_attention(nlp("x"), "looked_at")
    model = make_model("rnn_textcat", pooling=["mean"])
    with pytest.raises(ValueError, match="has no attention"):
        spacy.blank("xx").add_pipe("rnn_textcat", config={"model": model, "attention_key": "a"})


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"pooling": ["mean", "sum"]}, "pooling = 'sum'"),
        ({"pooling": []}, "pooling = \\[\\]"),
        ({"pooling": ["max", "max"]}, "each of them once"),
        ({"attention_heads": 0}, "attention_heads = 0"),
        ({"attention_width": -1}, "attention_width = -1"),
        ({"max_tokens_in_training": 0}, "max_tokens_in_training = 0"),
        ({"bidirectional": False}, "bidirectional = False"),
        ({"linear_model": {**BOW, "no_output_layer": False}}, "no_output_layer = true"),
        ({"linear_model": {**BOW, "exclusive_classes": False}}, "exclusive_classes = True"),
        ({"linear_model": REDUCE}, "not probabilities"),
    ],
)
def test_bad_settings(settings, message):
    model = make_model("rnn_textcat")
    if settings.get("linear_model", {}).get("@architectures") == BOW["@architectures"]:
        defaults = {"exclusive_classes": True, "ngram_size": 2}
        settings["linear_model"] = defaults | settings["linear_model"]
    with pytest.raises(ValueError, match=message):
        spacy.blank("xx").add_pipe("rnn_textcat", config={"model": {**model, **settings}})


def test_an_uninitialised_pipeline_says_so():
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_textcat")
    with pytest.raises(ValueError, match="initialize"):
        nlp("Some text.")


def test_a_linear_model_that_cannot_have_labels_added():
    tok2vec = build_rnn_encoder(8)
    other = Model("other", lambda model, X, is_train: (X, None), attrs={"multi_label": False})
    with pytest.raises(ValueError, match=r"'other'.*labels added"):
        build_rnn_text_classifier(tok2vec, True, linear_model=other)
