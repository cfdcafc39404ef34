"""What spaCy promises of its trainable lemmatizer, and that what comes out is never garbage."""

import copy
import json
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
import spacy
from spacy.lookups import Lookups
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam

from spacy_rnn.modules.cache import mark_changed
from spacy_rnn.modules.seq2seq.edit_scripts import make_script

from ..conftest import make_tok2vec, train_component

LEMMAS = {
    "The": ("DET", "", "the"),
    "the": ("DET", "", "the"),
    "cat": ("NOUN", "Number=Sing", "cat"),
    "cats": ("NOUN", "Number=Plur", "cat"),
    "dogs": ("NOUN", "Number=Plur", "dog"),
    "Dogs": ("NOUN", "Number=Plur", "dog"),
    "birds": ("NOUN", "Number=Plur", "bird"),
    "saw": ("VERB", "Tense=Past", "see"),
    "sang": ("VERB", "Tense=Past", "sing"),
    "barked": ("VERB", "Tense=Past", "bark"),
    "walked": ("VERB", "Tense=Past", "walk"),
    "London": ("PROPN", "Number=Sing", "London"),
    "in": ("ADP", "", "in"),
    ".": ("PUNCT", "", "."),
}
SENTENCES = [
    ["The", "cats", "saw", "the", "dogs", "."],
    ["Dogs", "barked", "in", "London", "."],
    ["birds", "sang"],
    ["The", "cat", "walked", "in", "London", "."],
]
SMALL = {"width": 16, "char_width": 8, "context_bits": 2}


def make_docs(nlp, sentences=SENTENCES, **kept):
    docs = []
    for words in sentences:
        pos, morphs, lemmas = map(list, zip(*(LEMMAS[word] for word in words), strict=True))
        docs.append(Doc(nlp.vocab, words=words, pos=pos, morphs=morphs, lemmas=lemmas))
    return docs


def blank_docs(nlp, sentences=SENTENCES, with_tags=True):
    docs = []
    for words in sentences:
        tags = [LEMMAS.get(word, ("NOUN", "", ""))[:2] for word in words]
        pos, morphs = map(list, zip(*tags, strict=True)) if words else ([], [])
        given = {"pos": pos, "morphs": morphs} if with_tags else {}
        docs.append(Doc(nlp.vocab, words=words, **given))
    return docs


def make_examples(nlp, sentences=SENTENCES, with_tags=True):
    gold = make_docs(nlp, sentences)
    predicted = blank_docs(nlp, sentences, with_tags)
    return [Example(*pair) for pair in zip(predicted, gold, strict=True)]


def make_model(**settings):
    settings = {**SMALL, **settings}
    return {"@architectures": "spacy-rnn.Seq2Seq.v1", "tok2vec": make_tok2vec(), **settings}


def make_nlp(steps=0, seed=0, model=None, examples=make_examples, **settings):
    config = {"model": model or make_model(), "min_edit_freq": 1, "decision_key": "by", **settings}
    return train_component("rnn_lemmatizer", config, examples, steps=steps, seed=seed)


@pytest.fixture
def nlp():
    return make_nlp(steps=3)


@pytest.fixture
def pipe(nlp):
    return nlp.get_pipe("rnn_lemmatizer")


@pytest.fixture(scope="module")
def trained():
    """A pipeline that has learned its corpus. Not to be changed."""
    return make_nlp(steps=250)


@pytest.fixture
def trained_copy(trained):
    return copy.deepcopy(trained)


def get_lemmas(docs):
    return [[token.lemma_ for token in doc] for doc in docs]


def run(nlp, sentences, **settings):
    """The lemmas, and what wrote them."""
    pipe = nlp.get_pipe("rnn_lemmatizer")
    for name, value in settings.items():
        setattr(pipe, name, value)
    docs = list(nlp.pipe(blank_docs(nlp, sentences)))
    return get_lemmas(docs), {writer for doc in docs for writer in doc.user_data["by"]}


EXPECTED = [[LEMMAS[word][2] for word in words] for words in SENTENCES]


@pytest.mark.parametrize(
    "settings, writers",
    [
        ({}, {"table"}),
        ({"use_table": False, "edit_threshold": 0.1}, {"edit"}),
        ({"use_table": False, "use_edits": False}, {"decoder"}),
        ({"use_table": False, "use_edits": False, "beam_width": 3}, {"decoder"}),
    ],
)
def test_each_part_learns_the_corpus(trained_copy, settings, writers):
    assert run(trained_copy, SENTENCES, **settings) == (EXPECTED, writers)
    scores = trained_copy.evaluate(make_examples(trained_copy))
    assert scores["lemma_acc"] == 1.0


def test_all_parts_can_be_turned_off(trained_copy):
    off = {"use_table": False, "use_edits": False, "use_decoder": False}
    lemmas, writers = run(trained_copy, SENTENCES, **off)
    assert lemmas == [[word.lower() for word in words] for words in SENTENCES]
    assert writers == {"fallback"}


def test_new_forms_are_lemmatized(trained_copy):
    nlp = trained_copy
    words = [["rats", "walkeds", "éats"]]
    assert run(nlp, words, edit_threshold=0.0)[0][0][0] == "rat"
    # With the table off a form is new to both.
    _, writers = run(nlp, words, edit_threshold=1.0, threshold=0.0)
    assert writers <= {"edit", "decoder"}
    assert run(nlp, words, threshold=1.0) == ([["rats", "walkeds", "éats"]], {"fallback"})


def test_it_has_the_contract_of_spacys_lemmatizer(nlp):
    nlp.add_pipe("trainable_lemmatizer")
    ours, theirs = map(nlp.get_pipe_meta, ("rnn_lemmatizer", "trainable_lemmatizer"))
    assert ours.assigns == theirs.assigns
    assert ours.default_score_weights == theirs.default_score_weights
    for name in ("overwrite", "scorer"):
        assert ours.default_config[name] == theirs.default_config[name]
    assert nlp.get_pipe("rnn_lemmatizer").hide_labels
    with pytest.raises(NotImplementedError):
        nlp.get_pipe("rnn_lemmatizer").add_label("dog")


def test_the_default_model_works():
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_lemmatizer")
    examples = make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    losses = nlp.update(examples, sgd=optimizer)
    assert losses["rnn_lemmatizer"] > 0
    assert nlp("The cats sang.")[0].lemma_ == "the"


def test_overwrite(trained_copy):
    nlp = trained_copy
    for overwrite, expected in [(False, "cow"), (True, "cat")]:
        nlp.get_pipe("rnn_lemmatizer").overwrite = overwrite
        (doc,) = blank_docs(nlp, [["cats", "sang"]])
        doc[0].lemma_ = "cow"
        assert [token.lemma_ for token in nlp(doc)] == [expected, "sing"]


def test_lookups_are_for_forms_that_training_does_not_have():
    nlp = make_nlp()
    lookups = Lookups()
    lookups.add_table("lemma_lookup", {"mice": "mouse", "saw": "saw", "cats": "kitten"})
    pipe = nlp.get_pipe("rnn_lemmatizer")
    pipe.initialize(lambda: make_examples(nlp), nlp=nlp, lookups=lookups)
    lemmas, writers = run(nlp, [["mice", "saw", "cats"]])
    assert (lemmas, writers) == ([["mouse", "see", "cat"]], {"lookups", "table"})
    other = make_nlp()
    other.from_bytes(nlp.to_bytes())
    assert run(other, [["mice"]])[0] == [["mouse"]]


def test_tags_decide_where_a_form_is_ambiguous():
    analyses = [("NOUN", "Number=Plur", "leaf"), ("VERB", "Tense=Pres", "leave")]

    def make(nlp):
        examples = []
        for pos, morph, lemma in analyses:
            tags = {"words": ["leaves"], "pos": [pos], "morphs": [morph]}
            gold = Doc(nlp.vocab, **tags, lemmas=[lemma])
            examples.append(Example(Doc(nlp.vocab, **tags), gold))
        return examples

    nlp = make_nlp(steps=200, examples=make)
    pipe = nlp.get_pipe("rnn_lemmatizer")
    for settings in [{}, {"use_table": False}, {"use_table": False, "use_edits": False}]:
        for name, value in settings.items():
            setattr(pipe, name, value)
        docs = [Doc(nlp.vocab, words=["leaves"], pos=[p], morphs=[m]) for p, m, _ in analyses]
        assert get_lemmas(nlp.pipe(docs)) == [["leaf"], ["leave"]], settings


def test_missing_and_misaligned_lemmas_teach_nothing(nlp, pipe):
    examples = make_examples(nlp)
    empty = Example(blank_docs(nlp, [["cats", "sang"]])[0], Doc(nlp.vocab, words=["cats", "sang"]))
    merged = Doc(nlp.vocab, words=["birdssang"])
    examples = [empty, Example(merged, make_docs(nlp, [["birds", "sang"]])[0])]
    vectors, _ = pipe.model.begin_update([eg.predicted for eg in examples])
    loss, gradient = pipe.get_loss(examples, vectors)
    assert loss == 0.0
    assert not numpy.concatenate(gradient).any()
    # Of two tokens one is aligned.
    half = Doc(nlp.vocab, words=["birds", "sa", "ng"])
    example = Example(half, make_docs(nlp, [["birds", "sang"]])[0])
    vectors, _ = pipe.model.begin_update([half])
    loss, (gradient,) = pipe.get_loss([example], vectors)
    assert loss > 0
    assert gradient[0].any() and not gradient[1:].any()


def test_a_pair_of_strings_counts_once_in_a_batch(nlp, pipe):
    def get_loss(n):
        examples = make_examples(nlp, [["cats"]]) * n
        vectors, _ = pipe.model.begin_update([eg.predicted for eg in examples])
        return pipe.get_loss(examples, vectors)

    loss, (first, *rest) = get_loss(3)
    assert loss == pytest.approx(get_loss(1)[0])
    assert first.any() and not any(gradient.any() for gradient in rest)


def test_the_gradient_of_the_vectors_is_that_of_the_loss():
    nlp = make_nlp(steps=3, use_decoder=False)
    pipe = nlp.get_pipe("rnn_lemmatizer")
    examples = make_examples(nlp)
    vectors, _ = pipe.model.begin_update([eg.predicted for eg in examples])
    _, gradient = pipe.get_loss(examples, vectors)
    layer = pipe.model.get_ref("edits")
    pipe.model.finish_update(lambda key, weights, gradient: (weights, gradient))

    def get_cross_entropy():
        tags = pipe._get_tag_rows([(w, *LEMMAS[w][:2]) for words in SENTENCES for w in words])
        X = numpy.concatenate([numpy.concatenate(vectors), tags], axis=1)
        probs, _ = layer.begin_update(X)
        golds = [
            1 + pipe.labels.index(make_script(w, LEMMAS[w][2]))
            for words in SENTENCES
            for w in words
        ]
        return -numpy.log(probs[numpy.arange(len(golds)), golds]).sum()

    row, column = 2, int(abs(gradient[0][2]).argmax())
    losses = []
    for step in (-1e-2, 2e-2):
        vectors[0][row, column] += step
        losses.append(get_cross_entropy())
    numeric = (losses[1] - losses[0]) / 2e-2
    assert gradient[0][row, column] == pytest.approx(numeric, rel=0.05)


def test_there_must_be_lemmas():
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_lemmatizer", config={"model": make_model()})
    doc = Doc(nlp.vocab, words=["cats"])
    with pytest.raises(ValueError, match="'rnn_lemmatizer' has nothing to learn from"):
        nlp.initialize(lambda: [Example(doc, doc)])


def test_without_frequent_edit_scripts_the_decoder_learns():
    nlp = make_nlp(steps=150, min_edit_freq=1000, use_table=False)
    assert nlp.get_pipe("rnn_lemmatizer").labels == ()
    assert run(nlp, SENTENCES[:1]) == (EXPECTED[:1], {"decoder"})


def test_label_data_replaces_reading_the_data(nlp, pipe):
    labels = json.loads(json.dumps(pipe.label_data))
    other = spacy.blank("xx").add_pipe("rnn_lemmatizer", config={"model": make_model()})
    doc = make_docs(nlp, [["cats"]])[0]
    other.initialize(lambda: [Example(doc, doc)], labels=labels)
    assert other.label_data == pipe.label_data
    assert other.labels == pipe.labels
    for wrong in (["dog"], {"edits": ["dog"], "tags": [], "table": {}, "chars": []}):
        with pytest.raises(ValueError, match="spacy init labels"):
            other.initialize(lambda: [Example(doc, doc)], labels=wrong)


TEXTS = [[], ["The"], [], ["cats", " ", "rats", "zzz"], ["x"] * 30, []]


@pytest.mark.parametrize("options", [{}, {"use_edits": False, "threshold": 0.0}])
def test_empty_docs_and_any_batch(trained_copy, options):
    nlp = trained_copy
    expected = [run(nlp, [words], use_table=False, **options)[0][0] for words in TEXTS]
    assert run(nlp, TEXTS)[0] == expected
    assert list(map(len, expected)) == list(map(len, TEXTS))
    pipe = nlp.get_pipe("rnn_lemmatizer")
    assert get_lemmas(pipe.pipe(blank_docs(nlp, TEXTS), batch_size=1)) == expected
    assert expected[3][1] == " "
    # Never decoded: alone, empty, and white space only.
    for words in ([], [" "]):
        assert run(nlp, [words])[0] == [words]


def test_a_warm_cache_changes_nothing(trained_copy):
    options = {"use_table": False, "use_edits": False, "threshold": 0.0}
    first = run(trained_copy, TEXTS, **options)
    assert run(trained_copy, TEXTS, **options) == first
    # Another weight, other strings.
    module = trained_copy.get_pipe("rnn_lemmatizer").model.get_ref("decoder").shims[0].module
    module.output.bias.data[0] = -50.0
    module.output.bias.data[-1] = 50.0
    mark_changed([module.output.bias])
    assert run(trained_copy, TEXTS, **options) != first


@pytest.mark.parametrize("use_edits", [True, False])
def test_nothing_is_garbage(trained_copy, use_edits):
    """10,000 words of all of Unicode, long ones, and from right to left."""
    nlp, rng = trained_copy, random.Random(0)
    planes = [(0x20, 0x250), (0x370, 0x700), (0x900, 0x3000), (0x1F300, 0x1FAFF), (0x20, 0x110000)]

    def draw():
        low, high = rng.choice(planes)
        length = min(int(rng.expovariate(0.2)) + 1, 60)
        chars = (chr(rng.randrange(low, high)) for _ in range(length))
        # Surrogates are no characters.
        return "".join(c for c in chars if not "\ud800" <= c <= "\udfff") or "x"

    words = [draw() for _ in range(10_000)]
    words += ["a" * 10_000, "שלום", "مرحبا", "🤷🏽‍♀️", "İ", "ß", "\u0301", "\u200d", "ﬃ"]
    pipe = nlp.get_pipe("rnn_lemmatizer")
    pipe.use_edits, pipe.threshold, pipe.edit_threshold = use_edits, 0.0, 1.0
    docs = [Doc(nlp.vocab, words=words[i : i + 50]) for i in range(0, len(words), 50)]
    allowed = {char for *_, lemma in LEMMAS.values() for char in lemma}
    writers = set()
    for doc in nlp.pipe(docs):
        writers.update(doc.user_data["by"])
        for token in doc:
            text, lemma = token.text, token.lemma_
            known = {*text, *text.lower(), *text.upper(), *allowed}
            assert lemma and set(lemma) <= known, (text, lemma)
            assert len(lemma) <= max(len(text) + 10, len(text.lower())), (text, lemma)
    assert "decoder" in writers


@pytest.mark.parametrize("via", ["bytes", "disk", "pickle", "deepcopy"])
@pytest.mark.parametrize("steps", [0, 20])
def test_serialization_into_a_fresh_pipeline(tmp_path, via, steps):
    nlp = make_nlp(steps=steps, use_table=False)
    expected = run(nlp, [["rats", "walked", "é"]])
    if via == "disk":
        nlp.to_disk(tmp_path)
        fresh = spacy.load(tmp_path)
        for name in ("cfg", "model"):
            content = (tmp_path / "rnn_lemmatizer" / name).read_bytes()
            assert not content.startswith(b"\x80\x04") and b"torch._utils" not in content
    elif via == "bytes":
        fresh = spacy.blank("xx").from_config(nlp.config)
        fresh.from_bytes(nlp.to_bytes())
    else:
        fresh = pickle.loads(pickle.dumps(nlp)) if via == "pickle" else copy.deepcopy(nlp)
    assert run(fresh, [["rats", "walked", "é"]]) == expected
    label_data = nlp.get_pipe("rnn_lemmatizer").label_data
    assert fresh.get_pipe("rnn_lemmatizer").label_data == label_data


def test_another_components_files_are_refused(tmp_path, nlp):
    nlp.to_disk(tmp_path)
    cfg = json.loads((tmp_path / "rnn_lemmatizer" / "cfg").read_text())
    cfg["edits"] = cfg["edits"][:-1]
    (tmp_path / "rnn_lemmatizer" / "cfg").write_text(json.dumps(cfg))
    with pytest.raises(ValueError, match=r"'rnn_lemmatizer'.*need \d+ outputs"):
        spacy.load(tmp_path)


def test_processes_and_memory_zones(trained_copy):
    nlp = trained_copy
    nlp.get_pipe("rnn_lemmatizer").use_table = False
    texts = ["The cats sang.", "", "rats barked"] * 2
    expected = get_lemmas(nlp.pipe(texts))
    assert get_lemmas(nlp.pipe(texts, n_process=2)) == expected
    for _ in range(2):
        with nlp.memory_zone():
            assert get_lemmas(nlp.pipe(texts)) == expected


def test_threads_share_a_pipeline(trained_copy):
    nlp = trained_copy
    pipe = nlp.get_pipe("rnn_lemmatizer")
    pipe.use_table, pipe.use_edits = False, False
    expected = get_lemmas(nlp.pipe(blank_docs(nlp, TEXTS)))
    shim = pipe.model.get_ref("decoder").shims[0]
    mark_changed(shim.module.parameters())
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(lambda: list(pipe.pipe(blank_docs(nlp, TEXTS)))) for _ in range(8)]
        assert all(get_lemmas(run.result()) == expected for run in runs)


def test_weights_that_are_not_numbers_write_no_garbage(trained_copy):
    module = trained_copy.get_pipe("rnn_lemmatizer").model.get_ref("decoder").shims[0].module
    module.output.bias.data.fill_(numpy.nan)
    mark_changed([module.output.bias])
    lemmas, writers = run(trained_copy, [["Rats"]], use_table=False, use_edits=False)
    assert (lemmas, writers) == ([["rats"]], {"fallback"})


def test_a_full_cache_is_emptied(trained_copy, monkeypatch):
    monkeypatch.setattr("spacy_rnn.layers.seq2seq.MAX_CACHED", 5)
    options = {"use_table": False, "use_edits": False, "threshold": 0.0}
    expected = [run(trained_copy, [words], **options)[0][0] for words in TEXTS]
    assert run(trained_copy, TEXTS, **options)[0] == expected


def test_suggestions_are_the_best_strings(trained_copy):
    pipe = trained_copy.get_pipe("rnn_lemmatizer")
    docs = blank_docs(trained_copy, [["cats", " ", "x" * 50], [], ["rats"]])
    first, empty, last = pipe.suggest(docs, n_best=3)
    assert empty == [] and first[1:] == [[], []]
    for found in (first[0], last[0]):
        probabilities = [probability for _, probability in found]
        assert len({string for string, _ in found}) == 3
        assert probabilities == sorted(probabilities, reverse=True)
        assert 0 < sum(probabilities) <= 1
    assert first[0][0][0] == "cat"
    assert pipe.suggest([]) == []


def test_alignments_have_a_row_for_each_character(trained_copy):
    pipe = trained_copy.get_pipe("rnn_lemmatizer")
    (doc,) = blank_docs(trained_copy, [["cats", " ", "é"]])
    (cats, other) = pipe.align(doc)
    assert (cats.source, cats.target, other.source) == ("cats", "cat", "é")
    assert cats.weights.shape == (4, 5)
    numpy.testing.assert_allclose(cats.weights.sum(axis=1), 1, rtol=1e-5)
    assert pipe.align(Doc(trained_copy.vocab)) == []


def test_docs_of_another_vocab_get_their_strings(trained):
    pipe = trained.get_pipe("rnn_lemmatizer")
    doc = blank_docs(spacy.blank("xx"), [["cats", "rats"]])[0]
    assert pipe(doc)[0].lemma_ == "cat"


def test_frozen_and_annotating():
    def make(nlp):
        return make_examples(nlp, with_tags=False)

    nlp = make_nlp(steps=1, examples=make)
    nlp.add_pipe("rnn_morphologizer", first=True)
    examples = make(nlp)
    nlp.get_pipe("rnn_morphologizer").initialize(lambda: examples)
    optimizer = Adam(0.01)
    before = nlp.get_pipe("rnn_lemmatizer").to_bytes()
    nlp.update(examples, sgd=optimizer, exclude=["rnn_lemmatizer"], annotates=["rnn_lemmatizer"])
    assert nlp.get_pipe("rnn_lemmatizer").to_bytes() == before
    # The lemmatizer learns with what the morphologizer predicts.
    column = len(nlp.get_pipe("rnn_lemmatizer").cfg["tags"])
    edits = nlp.get_pipe("rnn_lemmatizer").model.get_ref("edits")
    assert not edits.get_param("W")[:, -column:].any()
    for _ in range(3):
        nlp.update(make(nlp), sgd=optimizer, annotates=["rnn_morphologizer"])
    assert edits.get_param("W")[:, -column:].any()


def test_same_seed_same_weights():
    first, second, other = (make_nlp(steps=3, seed=seed) for seed in (0, 0, 1))
    assert (
        first.get_pipe("rnn_lemmatizer").to_bytes() == second.get_pipe("rnn_lemmatizer").to_bytes()
    )
    assert (
        first.get_pipe("rnn_lemmatizer").to_bytes() != other.get_pipe("rnn_lemmatizer").to_bytes()
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "gru", "attention": "dot"},
        {"cell": "elman", "attention": "additive", "depth": 2},
        {"copy": False, "context_bits": 0},
    ],
)
def test_other_models_learn_the_corpus(settings):
    options = {"label_smoothing": 0.05, "sampling_rate": 0.1}
    nlp = make_nlp(steps=120, model=make_model(**settings), **options)
    lemmas, _ = run(nlp, SENTENCES, use_table=False, use_edits=False)
    right = [
        a == b for pair in zip(lemmas, EXPECTED, strict=True) for a, b in zip(*pair, strict=True)
    ]
    assert sum(right) >= 0.8 * len(right)


def test_invalid_settings_are_named():
    for name, value in {"width": 7, "attention": "soft", "cell": "lsd", "context_bits": -1}.items():
        with pytest.raises(ValueError, match=name):
            make_nlp(model=make_model(**{name: value}))
    for name, value in {"threshold": 2.0, "beam_width": 0, "max_growth": -1}.items():
        with pytest.raises(ValueError, match=name):
            make_nlp(**{name: value})
