"""Every config in configs/ fills, trains through `spacy train`, and evaluates."""

import dataclasses
import subprocess
import sys

import numpy
import pytest
import spacy
import srsly
from spacy.cli.init_config import fill_config
from spacy.cli.train import train
from spacy.tokens import Doc, DocBin
from spacy.util import load_config

from spacy_rnn.pretraining.find_model import load_pipeline
from spacy_rnn.pretraining.pretrain import pretrain
from spacy_rnn.pretraining.settings import LMSettings

from .conftest import ROOT, run_spacy

PRETRAINING = [
    *(ROOT / "configs" / f"{name}.cfg" for name in ("bilm", "lm")),
    ROOT / "projects" / "inside" / "configs" / "feed_forward.cfg",
]
CONFIGS = [
    *sorted(set((ROOT / "configs").glob("*.cfg")) - set(PRETRAINING)),
    ROOT / "projects" / "ud_tagger" / "configs" / "morphologizer.cfg",
]
# word, tag, part of speech, features, lemma, head, dependency label. Nouns are entities; texts are
# about sitting or not.
SENTENCES = [
    """The DT DET Definite=Def the 1 det
    cats NNS NOUN Number=Plur cat 2 nsubj
    sat VBD VERB Tense=Past sit 2 ROOT
    . . PUNCT PunctType=Peri . 2 punct""",
    """She PRP PRON Number=Sing she 1 nsubj
    sees VBZ VERB Tense=Pres see 1 ROOT
    two CD NUM NumType=Card two 3 nummod
    dogs NNS NOUN Number=Plur dog 1 obj
    . . PUNCT PunctType=Peri . 1 punct""",
    """Birds NNS NOUN Number=Plur bird 1 nsubj
    sang VBD VERB Tense=Past sing 1 ROOT
    sweetly RB ADV Degree=Pos sweetly 1 advmod""",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A few sentences with everything that a config in configs/ learns."""
    vocab = spacy.blank("en").vocab
    docs = []
    for sentence in SENTENCES:
        columns = zip(*(line.split() for line in sentence.splitlines()), strict=True)
        words, tags, pos, morphs, lemmas, heads, deps = map(list, columns)
        heads = [int(head) for head in heads]
        annotation = {"tags": tags, "pos": pos, "morphs": morphs, "lemmas": lemmas, "deps": deps}
        annotation["ents"] = ["B-ANIMAL" if p == "NOUN" else "O" for p in pos]
        doc = Doc(vocab, words=words, heads=heads, **annotation)
        doc.cats = {"SITTING": float("sat" in words), "ELSE": float("sat" not in words)}
        docs.append(doc)
    path = tmp_path_factory.mktemp("corpus") / "train.spacy"
    DocBin(docs=docs * 20).to_disk(path)
    return path


def train_briefly(config, corpus, output, **overrides):
    overrides = {
        "paths.train": str(corpus),
        "paths.dev": str(corpus),
        "training.max_steps": 2,
        "training.eval_frequency": 1,
        **overrides,
    }
    train(config, output, overrides=overrides)
    return spacy.load(output / "model-last")


@pytest.mark.parametrize("config", CONFIGS, ids=[config.stem for config in CONFIGS])
def test_config_is_complete(config, tmp_path):
    before = load_config(config, interpolate=False)
    _, after = fill_config(tmp_path / "filled.cfg", config)
    assert after == before


@pytest.mark.parametrize("config", CONFIGS, ids=[config.stem for config in CONFIGS])
def test_config_trains_and_evaluates(config, corpus, tmp_path):
    nlp = train_briefly(config, corpus, tmp_path)
    metrics = tmp_path / "metrics.json"
    run_spacy("evaluate", tmp_path / "model-last", corpus, "--output", metrics)
    assert srsly.read_json(metrics)["speed"] > 0
    doc = nlp("The cats sang.")
    for attr in {a for name in nlp.pipe_names for a in nlp.get_pipe_meta(name).assigns}:
        # After two steps there may be no entities, of which there are types.
        if attr.startswith("token._."):
            assert doc[0]._.get(attr.split(".")[2]) is not None, attr
        elif attr.startswith("token.") and attr != "token.ent_type":
            assert doc.has_annotation(attr.split(".")[1].upper()), attr
        if attr == "doc.cats":
            assert set(doc.cats) == {"SITTING", "ELSE"}


@pytest.mark.parametrize("config", PRETRAINING, ids=[config.stem for config in PRETRAINING])
def test_pretraining_config_is_complete_and_trains(config, tmp_path):
    before = load_config(config, interpolate=False)
    nlp = load_pipeline(before)
    # Nothing that a component or its model has is left out.
    for name in nlp.component_names:
        filled = dict(nlp.get_pipe_config(name))
        assert set(before["components"][name]) == {"factory", *filled} - {
            "@factories",
            "nlp",
            "name",
        }
        for part in ("model", "embed"):
            filled = filled[part]
            expected = before["components"][name]["model"]
            expected = expected["embed"] if part == "embed" else expected
            assert set(filled) == set(expected)
    settings = {field.name for field in dataclasses.fields(LMSettings)}
    assert set(before["lm_pretraining"]) == settings
    texts = tmp_path / "texts.txt"
    texts.write_text("The old cat sat in the garden , and two dogs saw it .\n" * 60)
    changes = {
        "paths.train": str(texts),
        "paths.dev": str(texts),
        "lm_pretraining.max_steps": 2,
        "lm_pretraining.n_rows": 2,
        "lm_pretraining.n_steps": 8,
        "lm_pretraining.n_process": 0,
        f"components.{before['nlp']['pipeline'][0]}.model.cutoffs": [4],
    }
    pretrain(load_config(config, overrides=changes, interpolate=False), tmp_path / "output")
    nlp = spacy.load(tmp_path / "output" / "model-best")
    doc = nlp("The cat sat.")
    for attr in nlp.get_pipe_meta(nlp.pipe_names[0]).assigns:
        holder = {"doc": doc, "token": doc[0], "span": doc[:2]}[attr.split(".")[0]]
        assert holder._.get(attr.split(".")[-1]) is not None, attr


@pytest.mark.parametrize("name", ["rnn_textcat", "rnn_textcat_multilabel"])
def test_a_classifiers_own_model_is_that_of_its_config(name):
    config = load_config(ROOT / "configs" / f"{name.removeprefix('rnn_')}.cfg")
    nlp = spacy.blank("en")
    nlp.add_pipe(name)
    expected = config["components"][name]["model"]
    ours = nlp.config["components"][name]["model"]
    assert ours["linear_model"] == expected["linear_model"]
    assert ours["pooling"] == expected["pooling"]
    # A default would change what pipelines predict that were saved without the setting.
    assert expected["tok2vec"]["encode"].pop("int8") and not ours["tok2vec"]["encode"].pop("int8")
    for part in ("embed", "encode"):
        for key, value in ours["tok2vec"][part].items():
            assert expected["tok2vec"][part][key] == value, key


@pytest.fixture(scope="module")
def shared_path(corpus, tmp_path_factory):
    """A trained pipeline whose components share an encoder."""
    path = tmp_path_factory.mktemp("shared")
    overrides = {"training.max_steps": 30, "training.eval_frequency": 30}
    train_briefly(ROOT / "configs" / "pipeline_spacy.cfg", corpus, path, **overrides)
    return path / "model-last"


def test_a_shared_encoder_learns_through_spacys_listeners(shared_path, corpus, tmp_path):
    nlp = spacy.load(shared_path)
    scores = nlp.evaluate(list(spacy.training.Corpus(corpus)(nlp)))
    for name in ("tag_acc", "pos_acc", "morph_acc", "lemma_acc", "dep_uas"):
        assert scores[name] > 0.9, scores
    # The parser and the others with copies of their own of what they listened to.
    before = [[(t.tag_, t.dep_, t.lemma_) for t in nlp(text)] for text in ("The cats sang.", "")]
    for name in ("tagger", "morphologizer", "parser", "trainable_lemmatizer"):
        nlp.replace_listeners("tok2vec", name, ["model.tok2vec"])
    after = [[(t.tag_, t.dep_, t.lemma_) for t in nlp(text)] for text in ("The cats sang.", "")]
    assert after == before
    shims = {id(s) for n in nlp.pipe_names for m in nlp.get_pipe(n).model.walk() for s in m.shims}
    assert len(shims) == 5 * 2
    nlp.to_disk(tmp_path / "replaced")
    assert nlp("The cats sang.").to_bytes(exclude=["tensor", "user_data"]) == spacy.load(
        tmp_path / "replaced"
    )("The cats sang.").to_bytes(exclude=["tensor", "user_data"])


def find_encoders(layers):
    return [layer for layer in layers if layer.name == "rnn_encoder"]


def test_our_pipeline_learns_everything_with_one_encoder(corpus, tmp_path):
    overrides = {"training.max_steps": 40, "training.eval_frequency": 40}
    nlp = train_briefly(ROOT / "configs" / "pipeline.cfg", corpus, tmp_path, **overrides)
    scores = nlp.evaluate(list(spacy.training.Corpus(corpus)(nlp)))
    kinds = ("tag_acc", "pos_acc", "morph_acc", "lemma_acc", "dep_uas", "dep_las", "ents_f")
    for name in kinds:
        assert scores[name] > 0.9, scores
    layers = {m for name in nlp.pipe_names for m in nlp.get_pipe(name).model.walk()}
    assert len(find_encoders(layers)) == 1


def test_errors_of_spacys_own_component_name_the_layer_and_the_parameter(shared_path):
    config = load_config(shared_path / "config.cfg")
    config["components"]["tok2vec"]["model"]["encode"]["cell"] = "gru"
    other = spacy.blank("en").from_config(config)
    with pytest.raises(ValueError, match=r"'rnn_encoder'.*cell = 'lstm'.*cell = 'gru'"):
        other.from_disk(shared_path)


def test_a_frozen_encoder_stays_as_it_is(shared_path, corpus, tmp_path):
    first = spacy.load(shared_path)
    second = train_briefly(
        ROOT / "configs" / "pipeline_spacy.cfg",
        corpus,
        tmp_path,
        **{
            "components.tok2vec": {"source": str(shared_path)},
            "training.frozen_components": ["tok2vec"],
            "training.annotating_components": ["tok2vec"],
            "components.tagger.model.tok2vec.width": 384,
            "components.morphologizer.model.tok2vec.width": 384,
            "components.parser.model.tok2vec.width": 384,
            "components.trainable_lemmatizer.model.tok2vec.width": 384,
        },
    )
    doc = first.make_doc("The cats sang.")
    vectors = [nlp.get_pipe("tok2vec").predict([doc])[0] for nlp in (first, second)]
    numpy.testing.assert_array_equal(*vectors)


@pytest.mark.parametrize(
    "task, labels",
    [
        ("tagger", (".", "CD", "DT", "NNS", "PRP", "RB", "VBD", "VBZ")),
        ("ner", ("ANIMAL",)),
        ("textcat", ("SITTING", "ELSE")),
        ("textcat_multilabel", ("SITTING", "ELSE")),
    ],
)
def test_label_files(corpus, tmp_path, task, labels):
    config = load_config(ROOT / "configs" / f"{task}.cfg", interpolate=False)
    config.to_disk(tmp_path / "config.cfg")
    paths = ["--paths.train", str(corpus), "--paths.dev", str(corpus)]
    run_spacy("init", "labels", tmp_path / "config.cfg", tmp_path, *paths)
    name = f"rnn_{task}"
    reader = {"@readers": "spacy.read_labels.v1", "path": str(tmp_path / f"{name}.json")}
    nlp = train_briefly(
        tmp_path / "config.cfg",
        corpus,
        tmp_path / "out",
        **{f"initialize.components.{name}": {"labels": reader}},
    )
    assert nlp.get_pipe(name).labels == labels


def test_a_labels_file_of_a_lemmatizer(corpus, tmp_path):
    config = load_config(ROOT / "configs" / "lemmatizer.cfg", interpolate=False)
    config.to_disk(tmp_path / "config.cfg")
    paths = ["--paths.train", str(corpus), "--paths.dev", str(corpus)]
    run_spacy("init", "labels", tmp_path / "config.cfg", tmp_path, *paths)
    file = tmp_path / "rnn_lemmatizer.json"
    reader = {"@readers": "spacy.read_labels.v1", "path": str(file)}
    settings = {"initialize.components.rnn_lemmatizer": {"labels": reader}}
    nlp = train_briefly(tmp_path / "config.cfg", corpus, tmp_path / "out", **settings)
    assert nlp.get_pipe("rnn_lemmatizer").label_data == srsly.read_json(file)


def test_training_twice_gives_the_same_pipeline(corpus, tmp_path):
    config = ROOT / "configs" / "tagger.cfg"
    weights = []
    for name in ("first", "second"):
        train_briefly(config, corpus, tmp_path / name)
        weights.append((tmp_path / name / "model-last" / "rnn_tagger" / "model").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["tagger", "ner", "textcat"])
def test_a_packaged_pipeline_is_used_in_a_fresh_environment(corpus, tmp_path, task):
    steps = {"training.max_steps": 30, "training.eval_frequency": 30}
    nlp = train_briefly(ROOT / "configs" / f"{task}.cfg", corpus, tmp_path, **steps)
    expected = nlp("The cats sang.").to_json()
    assert ("tag" in expected["tokens"][0]) == (task == "tagger")
    assert bool(expected.get("ents")) == (task == "ner")
    assert bool(expected.get("cats")) == (task == "textcat")
    package = [sys.executable, "-m", "spacy", "package", tmp_path / "model-last", tmp_path]
    subprocess.run([*package, "--build", "none"], check=True, capture_output=True)
    (source,) = [path.parent for path in tmp_path.glob("en_pipeline-*/setup.py")]
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", target, source], check=True, capture_output=True)
    script = "import en_pipeline; print(en_pipeline.load()('The cats sang.').to_json())"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == str(expected)
    meta = (source / "setup.py").read_text() + (source / "meta.json").read_text()
    assert "spacy-rnn" in meta
