"""What spaCy promises of its entity recogniser, and what ours adds."""

import copy
import pickle

import numpy
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import SGD, Adam

from spacy_rnn.modules.crf.tagging_scheme import UNIT

from ..conftest import make_tok2vec, train_component

TEXTS = [
    ("Anna lives in New York .", ["B-PER", "O", "O", "B-LOC", "I-LOC", "O"]),
    ("The rain falls .", ["O", "O", "O", "O"]),
    ("Bob Smith Junior met Eve .", ["B-PER", "I-PER", "I-PER", "O", "B-PER", "O"]),
    ("Lisbon", ["B-LOC"]),
]


def make_config(**settings):
    return {"@architectures": "spacy-rnn.CRF.v1", **settings, "tok2vec": make_tok2vec()}


def make_examples(nlp, texts=TEXTS):
    return [
        Example(Doc(nlp.vocab, words=text.split()), Doc(nlp.vocab, words=text.split(), ents=tags))
        for text, tags in texts
    ]


def make_nlp(steps=0, seed=0, texts=TEXTS, component=None, **model):
    config = {"model": make_config(**model), "spans_key": "rnn_ner", **(component or {})}
    return train_component(
        "rnn_ner",
        config,
        lambda nlp: make_examples(nlp, texts),
        steps=steps,
        seed=seed,
        learn_rate=0.05,
    )


@pytest.fixture(scope="module", params=["viterbi", "posterior"])
def trained(request):
    settings = {"decoding": request.param, "threshold": 0.3}
    return make_nlp(steps=40, component=settings)


@pytest.fixture
def nlp():
    return make_nlp(steps=2)


def read(doc):
    return [(ent.start, ent.end, ent.label_) for ent in doc.ents]


def gold(tags):
    return read(Doc(Vocab(), words=["x"] * len(tags), ents=tags))


def words(nlp, text, **kwargs):
    return Doc(nlp.vocab, words=text.split(), **kwargs)


@pytest.mark.parametrize("output", ["crf", "softmax"])
@pytest.mark.parametrize("scheme", ["biluo", "iob2"])
def test_it_learns_its_corpus(scheme, output):
    nlp = make_nlp(steps=40, scheme=scheme, output=output)
    docs = list(nlp.pipe([words(nlp, text) for text, _ in TEXTS]))
    assert [read(doc) for doc in docs] == [gold(tags) for _, tags in TEXTS]
    assert nlp.evaluate(make_examples(nlp))["ents_f"] == 1.0
    for doc in docs:
        group = doc.spans["rnn_ner"]
        assert list(group) == list(doc.ents)
        assert group.attrs["scores"].dtype == numpy.float32
        assert len(group) == len(group.attrs["scores"])
        assert (group.attrs["scores"] > 0.5).all() and (group.attrs["scores"] <= 1.0).all()
    assert docs[0][1].ent_iob_ == "O"


def test_the_factory():
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_ner")
    meta = nlp.get_pipe_meta("rnn_ner")
    assert {"doc.ents", "span._.probability"} <= set(meta.assigns)
    assert meta.default_score_weights["ents_f"] == 1.0
    examples = make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    losses = {}
    nlp.update(examples, sgd=optimizer, losses=losses)
    assert losses["rnn_ner"] > 0


@pytest.fixture(scope="module")
def any_weights():
    return {scheme: make_nlp(scheme=scheme) for scheme in ("biluo", "iob2")}


@given(
    seed=st.integers(0, 5),
    scheme=st.sampled_from(["biluo", "iob2"]),
    texts=st.lists(st.text("ab .\n", max_size=12), min_size=1, max_size=5),
    scale=st.sampled_from([0.0, 1.0, 1e4, float("inf"), float("nan")]),
    starts=st.integers(0, 3),
    decoding=st.sampled_from(["viterbi", "posterior"]),
)
def test_entities_are_legal_whatever_the_weights(
    any_weights, seed, scheme, texts, scale, starts, decoding
):
    nlp = any_weights[scheme]
    nlp.get_pipe("rnn_ner").cfg["decoding"] = decoding
    output = nlp.get_pipe("rnn_ner").model.get_ref("output")
    rng = numpy.random.default_rng(seed)
    for name in ("W", "b", "transitions", "start", "end"):
        output.set_param(name, (rng.normal(size=output.get_param(name).shape) * scale).astype("f"))
    docs = [nlp.make_doc(text) for text in texts]
    for doc in docs:
        for token in list(doc) if starts else ():
            token.is_sent_start = token.i % starts == 0
    for doc in nlp.pipe(docs):
        for ent in doc.ents:
            assert not ent[0].is_space and not ent[-1].is_space
            assert all(token.is_sent_start is not True for token in ent[1:])
        assert all(0 <= score <= 1 for score in doc.spans["rnn_ner"].attrs["scores"])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 5))
def test_nothing_depends_on_the_batch(trained, lengths, batch_size):
    vocabulary = ["Anna", "New", "York", "rain", "Bob", "Smith", "Paris", "in", ".", "met"]
    docs = [Doc(trained.vocab, words=[vocabulary[(i + n) % 10] for i in range(n)]) for n in lengths]
    alone = [trained(copy.deepcopy(doc)) for doc in docs]
    together = list(trained.pipe(docs, batch_size=batch_size))
    for one, other in zip(alone, together, strict=True):
        assert read(one) == read(other)
        scores = [doc.spans["rnn_ner"].attrs["scores"] for doc in (one, other)]
        numpy.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_probabilities_add_up_over_all_readings(nlp):
    pipe = nlp.get_pipe("rnn_ner")
    doc = words(nlp, "Anna met Bob")
    readings = pipe.predict_k_best([doc], 10_000)[0]
    probs = [prob for prob, _ in readings]
    totals = get_probabilities(pipe, doc)
    assert sum(probs) == pytest.approx(1.0, abs=1e-4)
    assert probs == sorted(probs, reverse=True)
    best = [(ent.start, ent.end, ent.label_) for ent in readings[0][1]]
    doc = nlp(doc)
    assert read(doc) == best
    for ent, score in zip(doc.ents, doc.spans["rnn_ner"].attrs["scores"], strict=True):
        assert score == pytest.approx(totals[ent.start, ent.end, ent.label_], abs=1e-4)


def test_readings_of_empty_docs(trained):
    pipe = trained.get_pipe("rnn_ner")
    assert pipe.predict_k_best([words(trained, "")], 2) == [[(1.0, [])]]
    found = pipe.predict_k_best([words(trained, ""), words(trained, "Anna")], 2)
    assert found[0] == [(1.0, [])] and len(found[1]) == 2


def test_a_threshold_drops_what_is_less_probable():
    nlp = make_nlp(steps=15)
    doc = words(nlp, TEXTS[2][0])
    scores = nlp(copy.deepcopy(doc)).spans["rnn_ner"].attrs["scores"]
    assert len(scores) > 1
    threshold = float(scores.min()) + 1e-6
    nlp.get_pipe("rnn_ner").cfg["threshold"] = threshold
    doc = nlp(doc)
    assert doc.spans["rnn_ner"].attrs["scores"].tolist() == scores[scores >= threshold].tolist()
    assert len(doc.ents) == len(scores) - 1
    with pytest.raises(ValueError, match="threshold = 2"):
        spacy.blank("xx").add_pipe("rnn_ner", config={"threshold": 2})


def test_posterior_decoding_finds_all_that_is_probable():
    nlp = make_nlp(steps=10, component={"decoding": "posterior", "temperature": 1.5})
    pipe, docs = nlp.get_pipe("rnn_ner"), [words(nlp, text) for text, _ in TEXTS]
    counts = []
    for threshold in (0.0, 0.1, 0.3, 0.5):
        pipe.cfg["threshold"] = threshold
        found = pipe.predict(docs)
        counts.append(sum(map(len, found)))
        for doc, ents in zip(docs, found, strict=True):
            probs = get_probabilities(pipe, doc)
            for start, end, label, prob in ents:
                assert prob == pytest.approx(probs[start, end, pipe.labels[label]], abs=1e-4)
                assert prob >= threshold
            if threshold >= 0.5:
                expected = {key for key, prob in probs.items() if prob >= threshold}
                assert expected == {(a, b, pipe.labels[label]) for a, b, label, _ in ents}
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1] > 0
    doc = nlp(docs[0])
    assert list(doc.ents) == list(doc.spans["rnn_ner"])
    with pytest.raises(ValueError, match="'viterbi', 'posterior'"):
        spacy.blank("xx").add_pipe("rnn_ner", config={"decoding": "best"})


def get_probabilities(pipe, doc):
    """The probability of each entity, from all readings."""
    probs = {}
    for prob, spans in pipe.predict_k_best([doc], 10_000)[0]:
        for span in spans:
            key = (span.start, span.end, span.label_)
            probs[key] = probs.get(key, 0.0) + prob
    return probs


def test_temperature_moderates_probabilities_only():
    nlp = make_nlp(steps=15)
    pipe, docs = nlp.get_pipe("rnn_ner"), [words(nlp, text) for text, _ in TEXTS]
    found = []
    for temperature in (1.0, 3.0):
        pipe.cfg["temperature"] = temperature
        found.append([entity for ents in pipe.predict(docs) for entity in ents])
        for doc, ents in zip(docs, pipe.predict(docs), strict=True):
            probs = get_probabilities(pipe, doc)
            for start, end, label, prob in ents:
                assert prob == pytest.approx(probs[start, end, pipe.labels[label]], abs=1e-3)
    before, after = found
    assert before and [entity[:3] for entity in before] == [entity[:3] for entity in after]
    assert all(b[3] > a[3] for b, a in zip(before, after, strict=True) if b[3] > 0.9)
    with pytest.raises(ValueError, match="temperature = 0"):
        spacy.blank("xx").add_pipe("rnn_ner", config={"temperature": 0.0})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("decoding", "beam"),
        ("threshold", 5),
        ("threshold", None),
        ("temperature", 0),
        ("temperature", None),
        ("temperature", float("inf")),
    ],
)
def test_settings_are_checked_when_they_are_changed(setting, value):
    pipe = make_nlp().get_pipe("rnn_ner")
    before = getattr(pipe, setting)
    with pytest.raises(ValueError, match=f"'rnn_ner'.*{setting} = {value!r}"):
        pipe.cfg[setting] = value
    with pytest.raises(ValueError, match=f"'rnn_ner'.*{setting} = {value!r}"):
        setattr(pipe, setting, value)
    assert getattr(pipe, setting) == before


class TestRehearsal:
    @pytest.mark.parametrize("members", [1, 2])
    def test_the_model_comes_back_to_what_it_was(self, members):
        nlp = make_nlp(steps=30, members=members)
        pipe, others = nlp.get_pipe("rnn_ner"), [(text, ["O"] * len(tags)) for text, tags in TEXTS]
        optimizer = nlp.resume_training()
        optimizer.learn_rate = 0.01
        docs = [eg.predicted for eg in make_examples(nlp)]
        before = pipe.predict(docs)
        pipe.add_label("LATER")
        for _ in range(30):
            nlp.update(make_examples(nlp, others), sgd=optimizer)
        forgotten = pipe.predict(docs)
        assert not any(forgotten) and any(before)
        losses = [nlp.rehearse(make_examples(nlp), sgd=optimizer)["rnn_ner"] for _ in range(100)]
        assert losses[-1] < losses[0] / 10
        after = pipe.predict(docs)
        assert [[ent[:3] for ent in ents] for ents in after] == [
            [ent[:3] for ent in ents] for ents in before
        ]

    def test_a_model_that_has_not_changed_stays_as_it_is(self):
        nlp = spacy.blank("xx")
        # With word dropout, a filter of known words and language modelling.
        pipe = nlp.add_pipe("rnn_ner")
        nlp.initialize(lambda: make_examples(nlp))
        optimizer = nlp.resume_training()
        nlp.update(make_examples(nlp), sgd=optimizer)
        nlp.resume_training()
        docs = [nlp.make_doc("Quite other words")]
        before = pipe.model.predict(docs)[0].emissions[0]
        # Not Adam, whose steps are as large for a gradient of rounding errors.
        sgd = SGD(0.1)
        for _ in range(3):
            losses = nlp.rehearse([Example(doc, doc) for doc in docs], sgd=sgd)
            assert losses["rnn_ner"] < 1e-9
        after = pipe.model.predict(docs)[0].emissions[0]
        numpy.testing.assert_allclose(after, before, atol=1e-5)

    def test_nothing_is_done_where_there_is_nothing_to_do(self, nlp):
        pipe, examples = nlp.get_pipe("rnn_ner"), make_examples(nlp)
        before = pipe.model.to_bytes()
        assert nlp.rehearse(examples, sgd=Adam(0.01)) == {"rnn_ner": 0.0}
        optimizer = nlp.resume_training()
        empty = [Example(nlp.make_doc(""), nlp.make_doc(""))]
        assert nlp.rehearse(empty, sgd=optimizer) == {"rnn_ner": 0.0}
        assert pipe.model.to_bytes() == before


class TestWhatIsThereAlready:
    def test_preset_entities_stay(self, trained):
        doc = words(trained, "Anna lives in New York .")
        preset = [
            Span(doc, 1, 3, "PER", kb_id="Q1", span_id="x"),
            Span(doc, 5, 6, "UNKNOWN"),
        ]
        doc.set_ents(preset, default="missing")
        doc = trained(doc)
        assert read(doc) == [(0, 1, "PER"), (1, 3, "PER"), (3, 5, "LOC"), (5, 6, "UNKNOWN")]
        assert (doc.ents[1].kb_id_, doc.ents[1].id_) == ("Q1", "x")
        # All of doc.ents, in order, as they are there.
        group = doc.spans["rnn_ner"]
        assert [(span.start, span.kb_id_) for span in group] == [
            (0, ""),
            (1, "Q1"),
            (3, ""),
            (5, ""),
        ]
        scores = group.attrs["scores"].tolist()
        assert scores[1] == scores[3] == 1.0 and scores[0] < 1.0 and scores[2] < 1.0

    def test_blocked_tokens_stay_out(self, trained):
        doc = words(trained, "Anna lives in New York .")
        doc.set_ents([], blocked=[doc[3:4]], default="missing")
        doc = trained(doc)
        assert not doc[3].ent_type and doc[3].ent_iob == 3
        assert all(ent.end <= 3 or ent.start > 3 for ent in doc.ents)

    def test_outside_tokens_may_be_entities(self, trained):
        doc = words(trained, "Anna lives in New York .")
        doc.set_ents([], default="outside")
        assert read(trained(doc)) == [(0, 1, "PER"), (3, 5, "LOC")]

    def test_a_second_run_changes_nothing(self, trained):
        doc = trained(words(trained, TEXTS[2][0]))
        before = read(doc)
        assert read(trained(doc)) == before

    def test_sentence_starts_are_not_crossed(self, trained):
        doc = words(trained, "New York", sent_starts=[True, True])
        assert all(len(ent) == 1 for ent in trained(doc).ents)


class TestAnnotation:
    def get_gradient(self, nlp, example):
        pipe = nlp.get_pipe("rnn_ner")
        scores = pipe.model.predict([example.predicted])
        return pipe.get_loss([example], scores)

    def test_missing_tokens_have_no_say(self, nlp):
        tags = ["B-PER", "", "", "", "", ""]
        text = TEXTS[0][0]
        nothing = Example(words(nlp, text), words(nlp, text, ents=[""] * 6))
        loss, gradient = self.get_gradient(nlp, nothing)
        assert loss == pytest.approx(0, abs=1e-4)
        assert numpy.abs(gradient[0].emissions[0]).max() < 1e-5
        loss, gradient = self.get_gradient(
            nlp, Example(words(nlp, text), words(nlp, text, ents=tags))
        )
        assert loss > 0.1
        assert numpy.abs(gradient[0].emissions[0][0]).max() > 0.01

    def test_a_doc_without_annotation_is_no_loss(self, nlp):
        loss, _ = self.get_gradient(nlp, Example(words(nlp, "a b"), words(nlp, "a b")))
        assert loss == pytest.approx(0, abs=1e-4)

    @pytest.mark.parametrize("output", ["crf", "softmax"])
    def test_partial_annotation_is_learned(self, output):
        texts = [("Anna met Bob", ["B-PER", "", "B-PER"]), ("Rome met Rome", ["", "O", "B-LOC"])]
        nlp = make_nlp(steps=40, texts=texts, output=output)
        doc = nlp(words(nlp, "Anna met Bob"))
        assert {(0, 1, "PER"), (2, 3, "PER")} <= set(read(doc))

    def test_misaligned_tokens(self, nlp):
        predicted = Doc(nlp.vocab, words=["Anna", "lives", "in", "New York", "."])
        reference = words(nlp, TEXTS[0][0], ents=TEXTS[0][1])
        example = Example(predicted, reference)
        assert example.get_aligned_ner()[3] == "U-LOC"
        assert self.get_gradient(nlp, example)[0] > 0
        split = Example(Doc(nlp.vocab, words=["An", "na", "lives"]), words(nlp, "Anna lives"))
        assert self.get_gradient(nlp, split)[0] == pytest.approx(0, abs=1e-4)

    def test_an_entity_that_prediction_may_not_find_is_unknown(self, nlp):
        # "New York" crosses the start of a sentence.
        starts = [True, False, False, False, True, False]
        predicted = words(nlp, TEXTS[0][0], sent_starts=starts)
        tags = [*TEXTS[0][1][:3], "", "", TEXTS[0][1][5]]
        reference = words(nlp, TEXTS[0][0], ents=tags)
        loss, _ = self.get_gradient(nlp, Example(predicted, make_examples(nlp)[0].reference))
        assert 0 < loss < numpy.inf
        assert loss == pytest.approx(self.get_gradient(nlp, Example(predicted, reference))[0])

    def test_what_nothing_agrees_with_is_left_out_with_a_warning(self, nlp):
        predicted = words(nlp, "New York")
        predicted.set_ents([Span(predicted, 0, 2, "LOC")])
        example = Example(predicted, words(nlp, "New York", ents=["O", ""]))
        with pytest.warns(UserWarning, match="New York"):
            loss, gradient = self.get_gradient(nlp, example)
        assert loss == 0 and not gradient[0].emissions[0].any()

    def test_an_unknown_label_is_named(self, nlp):
        examples = make_examples(nlp, [("Acme sells", ["B-ORG", "O"])])
        with pytest.raises(ValueError, match=r"'Acme'.*'ORG' is not one of LOC, PER"):
            nlp.update(examples)

    def test_gradients_equal_numeric_ones(self, nlp):
        pipe = nlp.get_pipe("rnn_ner")
        pipe.cfg["incorrect_spans_key"] = "wrong"
        examples = make_examples(nlp)
        reference = examples[1].reference
        reference.spans["wrong"] = [Span(reference, 0, 2, "PER")]
        scores = pipe.model.predict([eg.predicted for eg in examples])
        _, gradient = pipe.get_loss(examples, scores)
        rng = numpy.random.default_rng(0)
        (Y,), (dY,) = scores, gradient
        arrays = [(Y.emissions[0], dY.emissions[0]), (Y.emissions[1], dY.emissions[1])]
        arrays += [(Y.transitions, dY.transitions), (Y.end, dY.end)]
        for values, grads in arrays:
            place = tuple(rng.integers(size) for size in values.shape)
            losses = []
            for step in (-1e-2, 1e-2):
                values[place] += step
                losses.append(pipe.get_loss(examples, scores)[0])
                values[place] -= step
            numeric = (losses[1] - losses[0]) / 2e-2
            assert grads[place] == pytest.approx(numeric, abs=2e-3)

    def test_wrong_spans_become_improbable(self):
        nlp = make_nlp(steps=40, component={"incorrect_spans_key": "wrong"})
        text = TEXTS[0][0]
        assert (0, 1, "PER") in read(nlp(words(nlp, text)))
        reference = words(nlp, text)
        reference.spans["wrong"] = [Span(reference, 0, 1, "PER"), Span(reference, 0, 1, "LOC")]
        optimizer = Adam(0.05)
        for _ in range(20):
            nlp.update([Example(words(nlp, text), reference)], sgd=optimizer)
        assert all(ent.start > 0 or ent.end > 1 for ent in nlp(words(nlp, text)).ents)

    @pytest.mark.parametrize("confidence", [0.0, 10.0, 20.0])
    def test_the_more_wrong_a_span_is_the_more_is_learned(self, nlp, confidence):
        pipe = nlp.get_pipe("rnn_ner")
        pipe.cfg["incorrect_spans_key"] = "wrong"
        reference = words(nlp, "x " * 300)
        reference.spans["wrong"] = [Span(reference, 9, 10, "PER")]
        example = Example(words(nlp, "x " * 300), reference)
        scores = pipe.model.predict([example.predicted])
        tag = pipe.scheme.get_learned()[pipe.scheme.get_tag(pipe.labels.index("PER"), UNIT)]
        scores[0].emissions[0][9, tag] += confidence
        _, gradient = pipe.get_loss([example], scores)
        if confidence:
            assert gradient[0].emissions[0][9, tag] == pytest.approx(1, abs=0.05)
        else:
            assert 0 < gradient[0].emissions[0][9, tag] < 1

    def test_divergence_is_an_error(self, nlp):
        output = nlp.get_pipe("rnn_ner").model.get_ref("output")
        output.set_param("b", output.get_param("b") * numpy.nan)
        with pytest.raises(ValueError, match="diverged"):
            nlp.update(make_examples(nlp))

    def test_a_span_can_not_be_right_and_wrong(self, nlp):
        nlp.get_pipe("rnn_ner").cfg["incorrect_spans_key"] = "wrong"
        example = make_examples(nlp)[0]
        example.reference.spans["wrong"] = [Span(example.reference, 0, 1, "PER")]
        with pytest.raises(ValueError, match=r"'Anna'.*remove one of them"):
            nlp.update([example])


class TestLabels:
    def test_label_data_can_be_given(self):
        nlp = spacy.blank("xx")
        pipe = nlp.add_pipe("rnn_ner", config={"model": make_config()})
        examples = make_examples(nlp)
        pipe.initialize(lambda: examples, labels=["X", "PER", "LOC"])
        assert pipe.labels == ("X", "PER", "LOC") and pipe.label_data == ["X", "PER", "LOC"]

    @pytest.mark.parametrize("labels", [{"0": {}, "1": {"PER": 3}}, "PER"])
    def test_label_data_of_another_kind_are_an_error(self, labels):
        nlp = spacy.blank("xx")
        pipe, examples = nlp.add_pipe("rnn_ner"), make_examples(nlp)
        with pytest.raises(ValueError, match=r"'rnn_ner' must be a list of strings.*init labels"):
            pipe.initialize(lambda: examples, nlp=nlp, labels=labels)
        assert pipe.labels == ()

    def test_no_labels_are_an_error(self):
        nlp = spacy.blank("xx")
        nlp.add_pipe("rnn_ner", config={"model": make_config()})
        with pytest.raises(ValueError, match="has no labels"):
            nlp.initialize(lambda: make_examples(nlp, TEXTS[1:2]))

    @pytest.mark.parametrize("scheme", ["biluo", "iob2"])
    def test_old_scores_stay_when_a_label_is_added(self, scheme):
        nlp = make_nlp(steps=40, scheme=scheme)
        pipe = nlp.get_pipe("rnn_ner")
        docs = [words(nlp, text) for text, _ in TEXTS]
        (before,), entities = pipe.model.predict(docs), [read(nlp(copy.deepcopy(d))) for d in docs]
        assert pipe.add_label("ORG") == 1 and pipe.add_label("ORG") == 0
        (after,) = pipe.model.predict(docs)
        n_old = before.transitions.shape[0]
        for old, new in zip(before.emissions, after.emissions, strict=True):
            numpy.testing.assert_allclose(new[:, :n_old], old, atol=1e-6)
        numpy.testing.assert_array_equal(after.transitions[:n_old, :n_old], before.transitions)
        assert [read(nlp(copy.deepcopy(doc))) for doc in docs] == entities
        texts = [*TEXTS, ("Acme sells rain .", ["B-ORG", "O", "O", "O"])]
        optimizer = Adam(0.05)
        for _ in range(40):
            nlp.update(make_examples(nlp, texts), sgd=optimizer)
        assert nlp.evaluate(make_examples(nlp, texts))["ents_f"] == 1.0

    def test_labels_can_be_added_before_initialisation(self):
        nlp = spacy.blank("xx")
        pipe = nlp.add_pipe("rnn_ner", config={"model": make_config()})
        pipe.add_label("ORG")
        nlp.initialize(lambda: make_examples(nlp))
        assert pipe.labels == ("ORG", "LOC", "PER")
        with pytest.raises(ValueError, match="not empty"):
            pipe.add_label("")


@pytest.mark.parametrize("via", ["bytes", "disk", "pickle", "deepcopy"])
@pytest.mark.parametrize("steps", [0, 2])
def test_serialization_into_a_fresh_pipeline(tmp_path, via, steps):
    nlp = make_nlp(steps=steps)
    nlp.get_pipe("rnn_ner").add_label("ORG")
    if via == "bytes":
        fresh = spacy.blank("xx").from_config(nlp.config).from_bytes(nlp.to_bytes())
    elif via == "disk":
        nlp.to_disk(tmp_path)
        fresh = spacy.load(tmp_path)
    else:
        fresh = pickle.loads(pickle.dumps(nlp)) if via == "pickle" else copy.deepcopy(nlp)
    pipes = [each.get_pipe("rnn_ner") for each in (nlp, fresh)]
    assert pipes[0].labels == pipes[1].labels
    docs = [words(nlp, text) for text, _ in TEXTS]
    expected, found = (pipe.predict(docs) for pipe in pipes)
    for one, other in zip(expected, found, strict=True):
        assert [entity[:3] for entity in one] == [entity[:3] for entity in other]
        assert [e[3] for e in one] == pytest.approx([e[3] for e in other], abs=1e-6)


def test_docs_keep_their_scores_when_stored(trained):
    doc = trained(words(trained, TEXTS[0][0]))
    stored = Doc(trained.vocab).from_bytes(doc.to_bytes())
    numpy.testing.assert_array_equal(
        stored.spans["rnn_ner"].attrs["scores"], doc.spans["rnn_ner"].attrs["scores"]
    )


def test_empty_and_whitespace_docs(trained):
    docs = list(trained.pipe(["", " ", "\n\n", "Anna", ""]))
    assert [len(doc.ents) for doc in docs] == [0, 0, 0, 1, 0]
    assert all("rnn_ner" in doc.spans for doc in docs)


def test_empty_docs_are_no_loss(nlp):
    pipe = nlp.get_pipe("rnn_ner")
    examples = make_examples(nlp, [("", [])])
    scores, backprop = pipe.model.begin_update([eg.predicted for eg in examples])
    loss, gradient = pipe.get_loss(examples, scores)
    backprop(gradient)
    output = pipe.model.get_ref("output")
    assert loss == 0 and output.get_param("transitions").any()
    assert not any(output.get_grad(name).any() for name in ("transitions", "start", "end"))


def test_a_huge_doc(trained):
    n = 3000
    doc = trained(Doc(trained.vocab, words=TEXTS[2][0].split() * n))
    assert len(doc.ents) >= n


class EntityReader:
    """Sees what the components before it have set in training."""

    def __init__(self):
        self.seen = []

    def __call__(self, doc):
        return doc

    def update(self, examples, **kwargs):
        self.seen.append([read(eg.predicted) for eg in examples])


def test_frozen_and_annotating(trained):
    nlp = copy.deepcopy(trained)
    before = nlp.get_pipe("rnn_ner").model.to_bytes()
    spacy.Language.factory("entity_reader", func=lambda nlp, name: EntityReader())
    reader = nlp.add_pipe("entity_reader")
    examples = make_examples(nlp)
    nlp.update(examples, exclude=["rnn_ner"], annotates=["rnn_ner"])
    assert reader.seen == [[gold(tags) for _, tags in TEXTS]]
    assert nlp.get_pipe("rnn_ner").model.to_bytes() == before


def test_many_processes_right_after_training(nlp):
    texts = [text for text, _ in TEXTS] * 10
    alone = [read(doc) for doc in nlp.pipe(texts)]
    assert [read(doc) for doc in nlp.pipe(texts, n_process=2, batch_size=5)] == alone
