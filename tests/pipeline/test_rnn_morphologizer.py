"""What spaCy promises of its morphologizer, with both output layers."""

import copy
import json
import pickle

import numpy
import pytest
import spacy
from spacy.pipeline.morphologizer import Morphologizer
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam, Config

from ..conftest import SMALL_TAGGER, train_component

ANALYSES = {
    "The": ("DET", "Definite=Def"),
    "cat": ("NOUN", "Number=Sing"),
    "dogs": ("NOUN", "Number=Plur"),
    "sat": ("VERB", "Number=Sing|Person=3|Tense=Past"),
    "bark": ("VERB", "Number=Plur|Tense=Pres"),
    "loudly": ("ADV", ""),
    ".": ("PUNCT", ""),
}
SENTENCES = [["The", "cat", "sat", "."], ["dogs", "bark", "loudly"], ["The", "dogs", "bark", "."]]
LAYERS = {"factored": "spacy-rnn.FactoredTagger.v1", "combined": "spacy.Tagger.v2"}

pytestmark = pytest.mark.parametrize("layer", LAYERS)


def make_docs(nlp, sentences=SENTENCES):
    docs = []
    for words in sentences:
        pos, morphs = zip(*(ANALYSES[word] for word in words), strict=True)
        docs.append(Doc(nlp.vocab, words=words, pos=list(pos), morphs=list(morphs)))
    return docs


def make_examples(nlp, sentences=SENTENCES):
    docs = make_docs(nlp, sentences)
    return [Example(Doc(nlp.vocab, words=[t.text for t in doc]), doc) for doc in docs]


def blank_docs(nlp):
    return [Doc(nlp.vocab, words=words) for words in SENTENCES]


def make_config(layer):
    tok2vec = Config().from_str(SMALL_TAGGER)["model"]["tok2vec"]
    return {"@architectures": LAYERS[layer], "tok2vec": tok2vec}


def make_nlp(layer, steps=0, seed=0, examples=make_examples, **settings):
    settings = {"model": make_config(layer), **settings}
    return train_component("rnn_morphologizer", settings, examples, steps=steps, seed=seed)


@pytest.fixture
def nlp(layer):
    return make_nlp(layer, steps=3)


@pytest.fixture
def pipe(nlp):
    return nlp.get_pipe("rnn_morphologizer")


@pytest.fixture(scope="module")
def trained():
    """Pipelines that have learned their corpus. Not to be changed."""
    return {layer: make_nlp(layer, steps=80) for layer in LAYERS}


def get_analyses(docs):
    return [[(t.pos_, str(t.morph)) for t in doc] for doc in docs]


def get_loss(pipe, examples, drop=0.0):
    scores, _ = pipe.model.begin_update([eg.predicted for eg in examples])
    return (*pipe.get_loss(examples, scores), scores)


def test_it_learns_its_corpus(layer, trained):
    nlp = trained[layer]
    expected = [[ANALYSES[word] for word in words] for words in SENTENCES]
    assert get_analyses(nlp.pipe(blank_docs(nlp))) == expected
    scores = nlp.evaluate(make_examples(nlp))
    assert scores["pos_acc"] == scores["morph_acc"] == scores["morph_micro_f"] == 1.0
    # A token without features has the empty analysis, not none.
    assert nlp(blank_docs(nlp)[0])[3].has_morph()


def test_it_is_spacys_morphologizer(layer, pipe, nlp):
    assert isinstance(pipe, Morphologizer)
    ours = nlp.get_pipe_meta("rnn_morphologizer")
    nlp.add_pipe("morphologizer")
    theirs = nlp.get_pipe_meta("morphologizer")
    assert ours.assigns == theirs.assigns
    assert ours.default_score_weights == theirs.default_score_weights
    for name in ("overwrite", "extend", "label_smoothing", "scorer"):
        assert ours.default_config[name] == theirs.default_config[name]


def test_the_default_model_works(layer):
    if layer == "combined":
        pytest.skip("once is enough")
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_morphologizer")
    examples = make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    losses = nlp.update(examples, sgd=optimizer)
    assert losses["rnn_morphologizer"] > 0
    assert nlp("The cat sat.")[1].pos_


def test_labels_are_spacys(layer, pipe):
    nlp = spacy.blank("xx")
    theirs = nlp.add_pipe("morphologizer")
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    assert pipe.label_data["morph"] == theirs.label_data["morph"]
    assert pipe.label_data["pos"] == theirs.label_data["pos"]
    assert set(pipe.labels) == set(theirs.labels)


@pytest.mark.parametrize("change", ["none", "missing", "misaligned", "smoothed", "empty"])
def test_the_loss_of_combinations_is_spacys(layer, pipe, nlp, change):
    if layer == "factored":
        pytest.skip("spaCy has none")
    examples = make_examples(nlp)
    if change == "missing":
        examples[0] = Example(examples[0].x, Doc(nlp.vocab, words=SENTENCES[0]))
        examples[1].reference[1].pos_ = ""
        examples.append(Example(examples[2].x, Doc(nlp.vocab, words=SENTENCES[2], pos=["ADV"] * 4)))
        examples[-1].reference[0].pos_ = ""
    elif change == "misaligned":
        predicted = Doc(nlp.vocab, words=["Thecat", "sa", "t", "."])
        examples[0] = Example(predicted, examples[0].reference)
    elif change == "smoothed":
        pipe.label_smoothing = 0.1
    elif change == "empty":
        examples.append(Example(Doc(nlp.vocab), Doc(nlp.vocab)))
    # spaCy ignores labels that it does not know.
    known = make_docs(nlp) + [eg.reference for eg in examples]
    fresh = spacy.blank("xx").add_pipe("rnn_morphologizer", config={"model": make_config(layer)})
    fresh.initialize(lambda: [Example(Doc(d.vocab, words=[t.text for t in d]), d) for d in known])
    fresh.label_smoothing = pipe.label_smoothing
    loss, gradient, scores = get_loss(fresh, examples)
    expected_loss, expected = Morphologizer.get_loss(fresh, examples, scores)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for mine, theirs in zip(gradient, expected, strict=True):
        numpy.testing.assert_allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize("missing", ["pos", "morph", "both", "misaligned"])
def test_missing_annotation_teaches_nothing(layer, pipe, nlp, missing):
    if layer == "combined" and missing in ("pos", "morph"):
        pytest.skip("one is a label without the other")
    words = SENTENCES[0]
    full = make_docs(nlp)[0]
    gold = Doc(nlp.vocab, words=words)
    if missing != "both":
        gold = full.copy()
    if missing == "pos":
        gold.from_array(["POS"], numpy.zeros((4, 1), dtype="uint64"))
    elif missing == "morph":
        gold.from_array(["POS"], full.to_array(["POS"]).reshape(-1, 1))
        gold = Doc(nlp.vocab, words=words, pos=[t.pos_ for t in full])
    predicted = Doc(nlp.vocab, words=["TheCatSat."] if missing == "misaligned" else words)
    _, (gradient,), _ = get_loss(pipe, [Example(predicted, gold)])
    n_pos = pipe._get_tables().sizes[0] if layer == "factored" else None
    pos, features = gradient[:, :n_pos], gradient[:, n_pos or len(pipe.labels) :]
    assert pos.any() == (missing == "morph")
    assert features.any() == (missing == "pos")


def test_unknown_analyses_are_named(layer, nlp):
    words = ["The", "whatchamacallit"]
    for pos, morph in (("X", ""), ("NOUN", "Number=Dual"), ("NOUN", "Gender=Fem")):
        gold = Doc(nlp.vocab, words=words, pos=["DET", pos], morphs=["Definite=Def", morph])
        with pytest.raises(ValueError, match=rf"POS={pos}' of token 1 \('whatchamacallit'\)"):
            nlp.update([Example(Doc(nlp.vocab, words=words), gold)])


def test_a_new_combination_of_known_values_is_learned(layer, nlp):
    words = ["The", "cats"]
    gold = Doc(nlp.vocab, words=words, pos=["DET", "VERB"], morphs=["Definite=Def", "Person=3"])
    example = Example(Doc(nlp.vocab, words=words), gold)
    if layer == "factored":
        assert nlp.update([example])["rnn_morphologizer"] > 0
    else:
        with pytest.raises(ValueError, match=r"POS=VERB\|Person=3"):
            nlp.update([example])


class TestLabels:
    def test_label_files(self, layer, pipe, nlp, tmp_path):
        path = tmp_path / "labels.json"
        path.write_text(json.dumps(pipe.label_data))
        labels = json.loads(path.read_text())
        labels = {kind: dict(reversed(each.items())) for kind, each in labels.items()}
        fresh = spacy.blank("xx")
        other = fresh.add_pipe("rnn_morphologizer", config={"model": make_config(layer)})
        other.initialize(lambda: make_examples(fresh), nlp=fresh, labels=labels)
        assert other.label_data == labels
        assert other.labels == tuple(reversed(pipe.labels))
        assert other.model.get_dim("nO") == pipe.model.get_dim("nO")

    @pytest.mark.parametrize("labels", [["NOUN"], {"morph": {}}, "NOUN"])
    def test_those_of_another_component(self, layer, labels):
        nlp = spacy.blank("xx")
        pipe = nlp.add_pipe("rnn_morphologizer", config={"model": make_config(layer)})
        with pytest.raises(ValueError, match="must be a dictionary with 'morph' and 'pos'"):
            pipe.initialize(lambda: make_examples(nlp), nlp=nlp, labels=labels)

    def test_none(self, layer):
        nlp = spacy.blank("xx")
        nlp.add_pipe("rnn_morphologizer", config={"model": make_config(layer)})
        example = Example(nlp.make_doc("a"), nlp.make_doc("a"))
        with pytest.raises(ValueError, match=r"no labels.*token\.pos_"):
            nlp.initialize(lambda: [example])

    def test_added_before_and_after_initialisation(self, layer):
        nlp = spacy.blank("xx")
        pipe = nlp.add_pipe("rnn_morphologizer", config={"model": make_config(layer)})
        assert pipe.add_label("POS=NOUN|Number=Dual") == 1
        assert pipe.add_label("POS=X") == 1
        nlp.initialize(lambda: make_examples(nlp))
        assert pipe.labels[:2] == ("Number=Dual|POS=NOUN", "POS=X")
        assert pipe.add_label("POS=X") == 0
        with pytest.raises(ValueError, match="E922"):
            pipe.add_label("POS=INTJ")

    def test_those_of_other_weights(self, layer, tmp_path, nlp):
        nlp.to_disk(tmp_path)
        path = tmp_path / "rnn_morphologizer" / "cfg"
        cfg = json.loads(path.read_text())
        cfg["labels_morph"]["POS=X"], cfg["labels_pos"]["POS=X"] = "", 101
        path.write_text(json.dumps(cfg))
        with pytest.raises(ValueError, match=r"rnn_morphologizer.cfg': its \d+ labels need"):
            spacy.load(tmp_path)


EXISTING = [
    [("ADJ", "Case=Nom|Number=Dual"), ("", ""), ("X", ""), ("", "Number=Sing")],
    [("", "Gender=Fem"), ("NOUN", "Tense=Past"), ("", "")],
]


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("extend", [True, False])
def test_annotation_that_is_there_is_treated_as_by_spacy(layer, trained, overwrite, extend):
    nlp = trained[layer]
    pipe = nlp.get_pipe("rnn_morphologizer")
    before = pipe.overwrite, pipe.extend
    theirs = Morphologizer(nlp.vocab, pipe.model, overwrite=overwrite, extend=extend)
    for name in ("labels_morph", "labels_pos"):
        theirs.cfg[name] = pipe.cfg[name]
    results = []
    for component in (pipe, theirs):
        docs = []
        for words, analyses in zip(SENTENCES, EXISTING, strict=False):
            doc = Doc(nlp.vocab, words=words)
            for token, (pos, morph) in zip(doc, analyses, strict=True):
                token.pos_ = pos
                if morph:
                    token.set_morph(morph)
            docs.append(doc)
        if component is pipe:
            pipe.overwrite, pipe.extend = overwrite, extend
            guesses = pipe.predict(docs)
        else:
            # spaCy's numbers of labels for the same predictions.
            analyses = [[ANALYSES[t.text] for t in doc] for doc in docs]
            label = {
                (pipe.cfg["labels_pos"][x], m): i
                for i, (x, m) in enumerate(pipe.cfg["labels_morph"].items())
            }
            guesses = [
                [label[spacy.parts_of_speech.IDS[p], m] for p, m in each] for each in analyses
            ]
        component.set_annotations(docs, guesses)
        results.append([[(t.pos, t.morph.key, t.has_morph()) for t in doc] for doc in docs])
    pipe.overwrite, pipe.extend = before
    assert results[0] == results[1]


def test_docs_of_another_vocab_get_their_strings(layer, trained):
    nlp, other = trained[layer], spacy.blank("xx")
    pipe = nlp.get_pipe("rnn_morphologizer")
    docs = [doc for pair in zip(blank_docs(nlp), blank_docs(other), strict=True) for doc in pair]
    pipe.set_annotations(docs, pipe.predict(docs))
    assert get_analyses(docs[::2]) == get_analyses(docs[1::2])


def test_empty_docs_and_any_batch(layer, trained):
    nlp = trained[layer]
    pipe = nlp.get_pipe("rnn_morphologizer")
    docs = [Doc(nlp.vocab), *blank_docs(nlp), Doc(nlp.vocab)]
    expected = [[], *[[ANALYSES[word] for word in words] for words in SENTENCES], []]
    assert get_analyses(nlp.pipe(docs)) == expected
    for doc in (nlp(""), Doc(nlp.vocab)):
        assert len(pipe(doc)) == 0
    pipe.set_annotations([Doc(nlp.vocab)] * 2, pipe.predict([Doc(nlp.vocab)] * 2))
    scores = pipe.model.predict(docs)
    for doc, Y in zip(docs[1:4], scores[1:4], strict=True):
        (alone,) = pipe.model.predict([doc])
        if layer == "factored":
            numpy.testing.assert_array_equal(alone, Y)
        else:
            numpy.testing.assert_allclose(alone, Y, atol=1e-5)
    assert get_analyses(nlp.pipe(blank_docs(nlp), n_process=2)) == expected[1:4]


@pytest.mark.parametrize("via", ["bytes", "disk", "pickle", "deepcopy"])
@pytest.mark.parametrize("steps", [0, 2])
def test_serialization_into_a_fresh_pipeline(tmp_path, layer, via, steps):
    nlp = make_nlp(layer, steps=steps)
    pipe = nlp.get_pipe("rnn_morphologizer")
    scores = pipe.model.predict(blank_docs(nlp))
    expected = get_analyses(nlp.pipe(blank_docs(nlp)))
    if via == "bytes":
        fresh = spacy.blank("xx").from_config(nlp.config)
        fresh.from_bytes(nlp.to_bytes())
    elif via == "disk":
        nlp.to_disk(tmp_path)
        fresh = spacy.load(tmp_path)
    else:
        fresh = pickle.loads(pickle.dumps(nlp)) if via == "pickle" else copy.deepcopy(nlp)
    other = fresh.get_pipe("rnn_morphologizer")
    assert other.labels == pipe.labels
    for A, B in zip(other.model.predict(blank_docs(fresh)), scores, strict=True):
        numpy.testing.assert_array_equal(A, B)
    assert get_analyses(fresh.pipe(blank_docs(fresh))) == expected
    assert other.model.to_bytes() == pipe.model.to_bytes()
    fresh.update(make_examples(fresh), sgd=Adam(0.01))


class PosReader:
    """Sees what the components before it have set in training."""

    def __init__(self):
        self.seen = []

    def __call__(self, doc):
        return doc

    def update(self, examples, **kwargs):
        self.seen.append([t.pos for eg in examples for t in eg.predicted])


def test_a_pipeline_without_labels_is_stored_and_loaded(layer, tmp_path):
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_morphologizer", config={"model": make_config(layer)})
    nlp.to_disk(tmp_path)
    assert spacy.load(tmp_path).get_pipe("rnn_morphologizer").labels == ()


def test_annotation_outlives_a_memory_zone(layer, trained):
    nlp = trained[layer]
    with nlp.memory_zone():
        assert len(list(nlp.pipe(blank_docs(nlp)))) == len(SENTENCES)
    expected = [[ANALYSES[word] for word in words] for words in SENTENCES]
    assert get_analyses(nlp.pipe(blank_docs(nlp))) == expected


def test_frozen_annotating_and_rehearsed(layer, nlp, pipe):
    before = pipe.model.to_bytes()
    spacy.Language.factory("pos_reader", func=lambda nlp, name: PosReader())
    reader = nlp.add_pipe("pos_reader")
    name = "rnn_morphologizer"
    nlp.update(make_examples(nlp), exclude=[name])
    nlp.update(make_examples(nlp), exclude=[name], annotates=[name])
    assert pipe.model.to_bytes() == before
    assert [any(seen) for seen in reader.seen] == [False, True]
    optimizer = nlp.resume_training()
    for _ in range(3):
        nlp.update(make_examples(nlp), sgd=optimizer)
    assert nlp.rehearse(make_examples(nlp), sgd=optimizer)["rnn_morphologizer"] > 0


def test_same_seed_same_weights(layer):
    stored = [
        make_nlp(layer, steps=2, seed=seed).get_pipe("rnn_morphologizer").model.to_bytes()
        for seed in (0, 0, 1)
    ]
    assert stored[0] == stored[1] != stored[2]


def test_label_smoothing(layer, nlp, pipe):
    plain = get_loss(pipe, make_examples(nlp))[1]
    pipe.label_smoothing = 0.2
    smooth = get_loss(pipe, make_examples(nlp))[1]
    assert not numpy.allclose(plain[0], smooth[0])
    # However it is smoothed, a group's gradient sums up to 0.
    for each in (plain[0], smooth[0]):
        numpy.testing.assert_allclose(each.sum(axis=1), 0, atol=1e-5)
