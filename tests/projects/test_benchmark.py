"""Tests of the benchmark project: its systems, its files of results, its table and chart."""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.util import dict_to_dot, load_model_from_config
from spacy.vocab import Vocab
from thinc.api import Config
from weasel.util import load_project_config

from ..conftest import SMALL_BILM
from ..pipeline.test_rnn_lemmatizer import SENTENCES, make_docs
from ..pipeline.test_rnn_lemmatizer import make_nlp as make_lemmatizer

PROJECT = Path(__file__).parents[2] / "projects" / "benchmark"
MODULES = ("tasks", "models", "systems", "pipelines", "results", "data", "timing", "encoder")
MODULES += ("memory", "report", "accuracy", "speed", "whole", "lemmas")
MODULES += ("runtime_systems", "runtime_models", "runtime", "runtime_report")
TAGGERS = (
    "ours-lstm-2x128",
    "ours-lstm-1x128",
    "ours-gru-2x128",
    "ours-gru-1x128",
    "ours-lstm-2x128-bilm",
    "ours-attention-2x256",
    "spacy-torch-bilstm-2x128",
    "spacy-torch-bilstm-64",
    "spacy-cnn",
)
RECOGNISERS = (
    "ours-ner",
    "ours-ner-1x128",
    "ours-ner-1x128-no-lm",
    "ours-ner-attention",
    "ours-ner-bilm",
    "ours-ner-bilm-adapted",
    "spacy-ner-torch-bilstm",
    "spacy-ner-cnn",
    "spacy-ner-cnn-lower",
)
CLASSIFIERS = (
    "ours-textcat",
    "ours-textcat-torch-bilstm",
    "spacy-textcat-ensemble",
    "spacy-textcat-reduce",
    "spacy-textcat-bow",
    "ours-textcat-multilabel",
    "spacy-textcat-multilabel-ensemble",
    "spacy-textcat-multilabel-reduce",
    "spacy-textcat-multilabel-bow",
)
SYSTEMS = TAGGERS + RECOGNISERS + CLASSIFIERS
BINS = [{"n": 0, "mean": 0.0, "right": 0.0}, {"n": 10, "mean": 0.9, "right": 0.8}]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The project's modules, which are not on the path for other tests, and a language model that
    is small.
    """
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(PROJECT / "scripts"))
    try:
        modules = SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
        bilm = tmp_path_factory.mktemp("bilm")
        config = Config().from_str(
            f'[nlp]\nlang = "en"\npipeline = ["bilm"]\n[components]\n{SMALL_BILM}'
        )
        nlp = load_model_from_config(config, auto_fill=True)
        nlp.get_pipe("bilm").model.initialize()  # type: ignore[attr-defined]
        modules.systems.BILM, modules.systems.ADAPTED = bilm / "lm", bilm / "adapted"
        for name in ("lm", "adapted/uner_en_ewt/model-best", "adapted/wnut17/model-best"):
            (bilm / name).mkdir(parents=True)
            nlp.to_disk(bilm / name)
        yield modules
    finally:
        sys.path[:] = path
        for name in {*MODULES, "chart"} & (set(sys.modules) - before):
            del sys.modules[name]


def make_accuracy(scripts: SimpleNamespace, **changes: Any) -> Any:
    fields = {
        "system": "ours-lstm-2x128",
        "corpus": "ud_en_ewt",
        "seed": 0,
        "commit": "0123456789",
        "dirty": False,
        "config": "c",
        "code": "d",
        "scores": {"dev": 0.95, "test": 0.948},
        "seconds": 600.0,
    }
    return scripts.results.Accuracy(**{**fields, **changes})


def make_speed(scripts: SimpleNamespace, **changes: Any) -> dict[str, Any]:
    def system(speed: float) -> dict[str, Any]:
        return {
            "inference": {
                "best": speed,
                "best_batch_size": 256,
                "first_pass": speed / 2,
                "share_at_64": 0.7,
            },
            "training": {"median": speed / 4},
            "latency_ms": 2.0,
            "latency_new_ms": 3.0,
            "memory_mb": {"import": 250.0, "peak": 400.0},
        }

    encoder = {
        "title": "spacy-rnn LSTM 2x128",
        "input_width": 128,
        "flops_per_word": 1310720,
        "gflops": {"median": 142.5},
        "words_per_second": 108_700,
        "share": 0.75,
        "share_of_neighbours": 0.78,
    }
    task = changes.get("task", "tagger")
    timed = scripts.systems.get_systems(task, timed=True)
    speed = {
        "task": task,
        "commit": "0123456789",
        "dirty": False,
        "date": "20250101T000000",
        "machine": scripts.results.get_machine(),
        "versions": scripts.results.get_versions(),
        "settings": {"repeats": 5, "rounds": 9, "calls": 200, "texts": 4078, "training_words": 1},
        "tokenizer": {"words": 50_000, "median": 1e6},
        "systems": {name: system(80_000 if "ours" in name else 20_000) for name in timed},
    }
    if task == "tagger":
        speed["encoder"] = {
            "peak": 190.0,
            "sentences": 2077,
            "words": 25094,
            "longest": 81,
            "encoders": [encoder],
        }
    return {**speed, **changes}


def test_benchmark_has_the_systems(scripts: SimpleNamespace) -> None:
    assert tuple(scripts.systems.SYSTEMS) == SYSTEMS
    assert tuple(scripts.systems.get_systems("ner")) == RECOGNISERS
    assert "spacy-torch-bilstm-64" not in scripts.systems.get_systems("tagger", timed=True)
    encode = scripts.pipelines.get_config("ours-gru-1x128").interpolate()["components"]
    settings = encode["rnn_tagger"]["model"]["tok2vec"]["encode"]
    assert (settings["cell"], settings["depth"], settings["width"]) == ("gru", 1, 256)
    ours = scripts.pipelines.get_config("ours-lstm-2x128")
    theirs = scripts.pipelines.get_config("spacy-cnn")
    assert ours["corpora"] == theirs["corpora"]
    assert theirs["training"]["dropout"] == 0.1
    assert list(theirs["components"]) == theirs["nlp"]["pipeline"] == ["tagger"]
    assert scripts.pipelines.get_config("spacy-ner-cnn")["nlp"]["pipeline"] == ["ner"]
    plain, lower, ours = (
        scripts.pipelines.get_config(name)["corpora"]["train"]["augmenter"]
        for name in ("spacy-ner-cnn", "spacy-ner-cnn-lower", "ours-ner")
    )
    assert plain is None
    assert lower == ours == {"@augmenters": "spacy.lower_case.v1", "level": 0.15}
    bow = scripts.pipelines.get_config("spacy-textcat-bow").interpolate()["components"]["textcat"]
    assert bow["model"]["@architectures"] == "spacy.TextCatBOW.v3"
    assert "tok2vec" not in bow["model"]
    bilstm = scripts.pipelines.get_config("ours-textcat-torch-bilstm")["components"]["rnn_textcat"]
    tok2vec = bilstm["model"]["tok2vec"]
    assert tok2vec["embed"]["@architectures"] == "spacy-rnn.LexemeEmbed.v1"
    assert tok2vec["encode"]["@architectures"] == "spacy.TorchBiLSTMEncoder.v1"


def test_benchmark_leaves_out_what_was_not_pretrained(
    scripts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ["ours-ner", "ours-ner-bilm", "ours-ner-bilm-adapted"]
    assert scripts.systems.select_available(names) == names
    monkeypatch.setattr(scripts.systems, "BILM", tmp_path / "lm" / "model-best")
    assert scripts.systems.select_available(names) == ["ours-ner", "ours-ner-bilm-adapted"]
    monkeypatch.setattr(scripts.systems, "ADAPTED", tmp_path / "adapted")
    (tmp_path / "adapted" / "wnut17" / "model-best").mkdir(parents=True)
    assert scripts.systems.select_available(names) == ["ours-ner"]
    assert scripts.systems.select_available(names, ["wnut17"]) == names[::2]


def test_benchmark_takes_the_language_model_adapted_to_the_corpus(scripts: SimpleNamespace) -> None:
    for corpus in ("uner_en_ewt", "wnut17"):
        adapted = str(scripts.systems.ADAPTED / corpus / "model-best")
        config = scripts.pipelines.get_config("ours-ner-bilm-adapted", corpus)
        assert config["paths"]["bilm"] == adapted
        config = scripts.pipelines.get_config("ours-ner-bilm", corpus)
        assert config["paths"]["bilm"] == str(scripts.systems.BILM)


def test_benchmark_times_encoders_without_a_language_model(
    scripts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scripts.systems, "BILM", tmp_path / "lm" / "model-best")
    encoders = scripts.encoder.make_encoders([numpy.zeros((3, 8), dtype="f")], 8)
    titles = [title for title, *_ in encoders]
    assert titles[0] == "spacy-rnn LSTM 2x128"
    assert not any("bilm" in title for title in titles)


def test_benchmark_chooses_a_setting_on_dev(
    scripts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scripts.accuracy, "find_threshold", lambda *args: (0.7, 0.5, {}))
    for name, is_chosen in (("ours-ner", True), ("spacy-ner-cnn", False)):
        nlp = scripts.pipelines.build_pipeline(name, ["PER"], get_ner_examples)
        nlp.to_disk(tmp_path / name)
        task = scripts.tasks.TASKS["ner"]
        value = scripts.accuracy.choose_on_dev(task, tmp_path / name, tmp_path / "dev.spacy")
        assert value == (0.7 if is_chosen else None)
        if is_chosen:
            component = spacy.load(tmp_path / name).get_pipe("rnn_ner")
            assert component.cfg["threshold"] == pytest.approx(0.7)


def get_ner_examples(nlp: Any) -> list[Example]:
    words, ents = ["We", "saw", "Anna", "."], ["O", "O", "B-PER", "O"]
    reference = Doc(nlp.vocab, words=words, ents=ents)
    return [Example(Doc(nlp.vocab, words=words), reference) for _ in range(3)]


def test_benchmark_folds(scripts: SimpleNamespace) -> None:
    task = scripts.tasks.TASKS["textcat"]
    assert task.get_directory(Path("c"), "mr", 3) == Path("c/mr/fold_3")
    assert task.get_directory(Path("c"), "banking77", 3) == Path("c/banking77")
    counts = [task.count_trainings(corpus, seeds) for corpus in task.corpora for seeds in (0, 1, 3)]
    assert counts == [0, 1, 3, 0, 1, 5, 0, 1, 5]


def test_benchmark_changes_our_config_for_a_corpus(scripts: SimpleNamespace) -> None:
    for name, system in scripts.systems.SYSTEMS.items():
        if system.has_bilm:
            continue
        before = dict_to_dot(scripts.pipelines.get_config(name))
        for corpus in system.task.corpora:
            changes = system.task.changes.get(corpus, {}) if system.is_ours else {}
            after = dict_to_dot(scripts.accuracy.get_training_config(name, corpus))
            assert after == {**before, **changes} and after.keys() == before.keys()
            assert (after != before) == bool(changes)


def test_benchmark_compares_fold_with_fold(scripts: SimpleNamespace) -> None:
    def make(system: str, seed: int, test: float) -> Any:
        scores = {"dev": test, "test": test}
        return make_accuracy(scripts, system=system, corpus="mr", seed=seed, scores=scores)

    ours = [make("ours-textcat", seed, 0.8 - seed / 10) for seed in range(3)]
    theirs = [make("spacy-textcat-ensemble", 2, 0.55), make("spacy-textcat-bow", 0, 0.75)]
    rows = scripts.report.make_report("textcat", ours + theirs, None)["systems"]
    assert rows[0]["ratios"]["TextCatEnsemble"]["test_difference"] == {"mr": 5.0}


@pytest.mark.parametrize("name", SYSTEMS)
def test_benchmark_system_runs(scripts: SimpleNamespace, name: str) -> None:
    words = ["We", "saw", "Rome", "."]
    is_tagger, is_classifier = name in TAGGERS, name in CLASSIFIERS
    labels = [".", "NN", "PRP", "VBD"] if is_tagger else ["LOC", "PER"]

    def get_examples(nlp: Any) -> list[Example]:
        known = {"tags": ["PRP", "VBD", "NN", "."], "ents": ["B-PER", "O", "B-LOC", "O"]}
        reference = Doc(nlp.vocab, words=words, **known)
        reference.cats = {"LOC": 1.0, "PER": 0.0}
        return [Example(Doc(nlp.vocab, words=words), reference) for _ in range(2)]

    nlp = scripts.pipelines.build_pipeline(name, labels, get_examples)
    assert sorted(nlp.get_pipe(nlp.pipe_names[-1]).labels) == labels
    scripts.timing.update(nlp, get_examples(nlp), scripts.timing.Adam(0.001))
    doc = nlp("We saw Rome.")
    assert all(token.tag_ in labels for token in doc if is_tagger)
    if is_classifier:
        assert sorted(doc.cats) == labels
    else:
        assert doc.has_annotation("TAG" if is_tagger else "ENT_IOB")


def test_benchmark_accuracy_round_trip(scripts: SimpleNamespace, tmp_path: Path) -> None:
    result = make_accuracy(scripts)
    path = scripts.results.save_accuracy(result, tmp_path)
    assert path.name == "ours-lstm-2x128__ud_en_ewt__seed0__0123456789.json"
    assert scripts.results.load_accuracies(tmp_path) == [result]
    changed = make_accuracy(scripts, dirty=True)
    assert scripts.results.save_accuracy(changed, tmp_path) != path
    assert str(Path.home()) not in path.read_text(encoding="utf8")
    path.write_text("{", encoding="utf8")
    with pytest.raises(ValueError, match="seed0__0123456789"):
        scripts.results.load_accuracies(tmp_path)


@pytest.mark.parametrize(
    "changes, is_ours, is_found",
    [
        ({}, True, True),
        ({"seed": 1}, True, False),
        ({"corpus": "wnut17"}, True, False),
        ({"bilm": "x"}, True, False),
        ({"system": "spacy-cnn"}, True, False),
        # The same commit
        ({"config": "x", "code": "x"}, True, True),
        ({"config": "x", "code": "x", "dirty": True}, True, False),
        # Another commit
        ({"commit": "x"}, True, True),
        ({"commit": "x", "code": "x"}, True, False),
        ({"commit": "x", "code": "x"}, False, True),
        ({"commit": "x", "config": "x"}, False, False),
        ({"commit": "x", "versions": {"spacy": "0"}}, False, False),
    ],
)
def test_benchmark_skips_what_is_stored(
    scripts: SimpleNamespace, tmp_path: Path, changes: dict[str, Any], is_ours: bool, is_found: bool
) -> None:
    old, new = make_accuracy(scripts), make_accuracy(scripts, **changes)
    scripts.results.save_accuracy(old, tmp_path)
    found = scripts.results.find_accuracy(new, is_ours, tmp_path)
    assert found == (old if is_found else None)


def test_benchmark_leaves_out_the_calibration_of_no_entities(scripts: SimpleNamespace) -> None:
    found = make_accuracy(scripts, calibration={"ece": 0.1, "n": 10, "bins": BINS})
    nothing = make_accuracy(
        scripts, seed=1, calibration={"ece": None, "n": 0, "bins": BINS[:1] * 2}
    )
    summary = scripts.report.summarize_accuracy([found, nothing])
    assert summary["calibration"]["ece"] == [0.1]
    assert scripts.report.summarize_accuracy([nothing])["calibration"] is None


def test_benchmark_keeps_language_models_apart(scripts: SimpleNamespace, tmp_path: Path) -> None:
    for seed, bilm, date in ((0, "a", "1"), (1, "a", "2"), (0, "b", "3")):
        result = make_accuracy(
            scripts, system="ours-ner-bilm", corpus="wnut17", seed=seed, bilm=bilm, date=date
        )
        scripts.results.save_accuracy(result, tmp_path)
    stored = scripts.results.load_accuracies(tmp_path)
    assert len(stored) == 3
    (row,) = scripts.report.make_report("ner", stored, None)["systems"]
    assert row["accuracy"]["wnut17"]["seeds"] == [0]


def test_benchmark_newest_speed(scripts: SimpleNamespace, tmp_path: Path) -> None:
    assert scripts.results.load_newest_speed("tagger", tmp_path) is None
    newest = make_speed(scripts, commit="aaa", date="20250102T000000")
    for speed in (newest, make_speed(scripts, commit="bbb")):
        scripts.results.save_speed(speed, tmp_path)
    assert scripts.results.load_newest_speed("tagger", tmp_path) == newest
    assert scripts.results.load_newest_speed("ner", tmp_path) is None


def test_benchmark_report(scripts: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the chart needs the extra bench")
    for seed, test in ((0, 0.947), (1, 0.949)):
        scripts.results.save_accuracy(
            make_accuracy(scripts, seed=seed, scores={"dev": 0.95, "test": test}), tmp_path
        )
    outdated = make_accuracy(
        scripts, commit="old", date="20200101T000000", scores={"dev": 0.1, "test": 0.1}
    )
    cnn = make_accuracy(scripts, system="spacy-cnn", scores={"dev": 0.93, "test": 0.931})
    for result in (outdated, cnn):
        scripts.results.save_accuracy(result, tmp_path)
    for corpus in ("uner_en_ewt", "wnut17"):
        for seed in (0, 1):
            result = make_accuracy(scripts, system="ours-ner", corpus=corpus, seed=seed)
            result.calibration = {"ece": 0.05 + seed / 50, "n": 10, "bins": BINS}
            scripts.results.save_accuracy(result, tmp_path)
    for task in ("tagger", "ner"):
        scripts.results.save_speed(make_speed(scripts, task=task), tmp_path)
    scripts.report.report_cli(tmp_path)

    for chart in ("tagger", "ner", "ours-ner_calibration"):
        assert (tmp_path / f"{chart}.png").read_bytes().startswith(b"\x89PNG")
    report = scripts.results.read_json(tmp_path / "table.json")
    assert report.pop("deployment") == {"systems": []}
    rows = {row["system"]: row for part in report.values() for row in part["systems"]}
    systems = scripts.systems.SYSTEMS
    assert tuple(rows) == tuple(name for name in TAGGERS + RECOGNISERS if systems[name].timed)
    ours = rows["ours-lstm-2x128"]
    assert ours["accuracy"]["ud_en_ewt"]["n"] == 2
    assert ours["accuracy"]["ud_en_ewt"]["test"] == {"mean": 94.8, "min": 94.7, "max": 94.9}
    assert {ratios["inference"] for ratios in ours["ratios"].values()} == {4.0}
    assert ours["ratios"]["HashEmbedCNN"]["test_difference"] == {"ud_en_ewt": 1.7}
    calibration = rows["ours-ner"]["accuracy"]["wnut17"]["calibration"]
    assert calibration["bins"][1] == {"n": 20, "mean": 0.9, "right": 0.8}
    table = (tmp_path / "table.md").read_text(encoding="utf8")
    assert "| 80,000 (4.00 / 4.00) |" in table
    assert "| 94.80 (94.70-94.90) |" in table
    assert "| 93.10 |" in table and "| 0.060 |" in table
    assert "25,094 words" in table and "| 75% |" in table
    assert "nan" not in table


@pytest.mark.parametrize("has_speed", [True, False])
def test_benchmark_report_from_one_kind(scripts: SimpleNamespace, has_speed: bool) -> None:
    accuracies = [] if has_speed else [make_accuracy(scripts)]
    speed = make_speed(scripts) if has_speed else None
    report = scripts.report.make_report("tagger", accuracies, speed)
    table = scripts.report.make_markdown({"tagger": report})
    assert table.count("spacy-rnn LSTM 2x128") == 1 + has_speed
    assert ("The encoder alone" in table) == has_speed


def test_benchmark_report_without_results(scripts: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        scripts.report.report_cli(tmp_path)


@pytest.mark.parametrize(
    "cell, depth, input_width, flops",
    [("lstm", 2, 128, 1_310_720), ("lstm", 1, 256, 786_432), ("gru", 1, 128, 393_216)],
)
def test_benchmark_flops(
    scripts: SimpleNamespace, cell: str, depth: int, input_width: int, flops: int
) -> None:
    assert scripts.encoder.count_flops(cell, depth, 256, input_width) == flops


def test_benchmark_encoders_agree_on_shapes(scripts: SimpleNamespace) -> None:
    Xs = scripts.encoder.make_input([3, 1, 5], 128)
    for title, _, encode in scripts.encoder.make_encoders(Xs, 128):
        assert [Y.shape for Y in encode(Xs)] == [(3, 256), (1, 256), (5, 256)], title


def test_benchmark_data(scripts: SimpleNamespace, tmp_path: Path) -> None:
    conllu = tmp_path / "dev.conllu"
    conllu.write_text(
        "# text = So it is. \n1\tSo\n\n# text = Não\u2028!\n1\tNão\n", encoding="utf8"
    )
    assert scripts.data.read_texts([conllu]) == ["So it is.", "Não\u2028!"]
    with pytest.raises(ValueError, match="does not exist"):
        scripts.data.read_texts([tmp_path / "test.conllu"])
    docs = [Doc(Vocab(), words=["a", "b"], tags=["X", "Y"]) for _ in range(20)]
    DocBin(docs=docs[:2]).to_disk(tmp_path / "dev.spacy")
    assert scripts.data.read_texts([tmp_path / "dev.spacy"]) == ["a b ", "a b "]
    DocBin(docs=docs).to_disk(tmp_path / "train.spacy")
    assert scripts.data.read_lengths(tmp_path / "train.spacy") == [2] * 20
    get_tags = scripts.tasks.get_tags
    data = scripts.data.read_training_data(tmp_path / "train.spacy", 9, get_tags)
    assert (data.labels, data.words) == (["X", "Y"], 10)


def test_benchmark_systems_take_turns(scripts: SimpleNamespace) -> None:
    calls: list[str] = []

    def task(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    values = scripts.timing.take_turns("", {name: partial(task, name) for name in "ab"}, 3)
    assert calls == list("ababab")
    assert values == {
        "a": {"median": 3.0, "runs": [1.0, 3.0, 5.0]},
        "b": {"median": 4.0, "runs": [2.0, 4.0, 6.0]},
    }


def test_benchmark_memory_is_this_process_own(scripts: SimpleNamespace) -> None:
    assert 10 < scripts.memory.get_peak() < 100_000


@pytest.mark.parametrize("task", ["tagger", "ner"])
def test_benchmark_data_are_those_of_the_projects_beside(
    scripts: SimpleNamespace, task: str
) -> None:
    projects = PROJECT.parent
    fetched = {
        projects / project / asset["dest"]
        for project in ("ud_tagger", "ner")
        for asset in load_project_config(projects / project)["assets"]
    }
    assert set(scripts.tasks.TASKS[task].texts) <= fetched


def test_benchmark_deploys_systems_that_can_be_trained(scripts: SimpleNamespace) -> None:
    for system in scripts.runtime_systems.SYSTEMS.values():
        if system.library == "spacy":
            assert scripts.systems.SYSTEMS[system.model].task_name == system.task_name
        else:
            assert system.task_name in scripts.runtime_models.SIZES


def test_benchmark_labels_for_other_libraries(scripts: SimpleNamespace) -> None:
    doc = Doc(Vocab(), words=list("abcdef"), tags=list("UVWXYZ"))
    doc.ents = [Span(doc, 1, 4, "LOC"), Span(doc, 5, 6, "ORG")]
    tags = [("a", "U"), ("b", "V"), ("c", "W"), ("d", "X"), ("e", "Y"), ("f", "Z")]
    assert scripts.runtime_models.read_labels(doc, "tagger") == tags
    entities = ["O", "B-LOC", "I-LOC", "E-LOC", "O", "S-ORG"]
    assert [tag for _, tag in scripts.runtime_models.read_labels(doc, "ner")] == entities


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_benchmark_measures_what_is_deployed(
    scripts: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, systems = scripts.runtime, scripts.runtime_systems
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    monkeypatch.setattr(systems, "MODELS", tmp_path)
    for name in ("ours-lstm-2x128", "spacy-cnn"):
        systems.get_model(name).mkdir(parents=True)
        nlp.to_disk(systems.get_model(name))
    python = systems.get_python(tmp_path, "runtime")  # spacy-cnn has no environment
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf8")
    python.chmod(0o755)
    texts = tmp_path / "texts.conllu"
    texts.write_text("# text = It's a text.\n# text = Another one.\n", encoding="utf8")
    for name, task in scripts.tasks.TASKS.items():
        monkeypatch.setitem(scripts.tasks.TASKS, name, replace(task, texts=(texts,)))
    names = ["ours-tagger", "spacy-tagger"]
    runtime.runtime_cli(tmp_path, names, repeats=1, threads=1, limit=0, results=tmp_path)

    (measured,) = scripts.runtime_report.load_runtimes(tmp_path)
    assert (measured["system"], measured["texts"], measured["words"]) == ("ours-tagger", 2, 8)
    assert measured["versions"]["spacy"] == spacy.__version__
    assert 0 < measured["cpu_s"]["median"] < 100
    assert 10 < measured["memory_mb"]["median"] <= measured["peak_mb"]["median"] < 10_000
    assert measured["environment_mb"] > 1 and measured["model_mb"] > 0
    assert measured["warm"]["median"] > 0 and len(measured["latency_ms"]["runs"]) == 1


def test_benchmark_compares_with_torch_in_one_run(scripts: SimpleNamespace) -> None:
    report = scripts.runtime_report
    without = {key: {"median": 2.0, "runs": [1.0, 2.0, 6.0]} for key in report.COLUMNS}
    without |= {f"{key}_cpu": without["warm"] for key in ("first_pass", "warm")}
    without |= {"latency_cpu_ms": without["warm"], "system": "ours-tagger", "date": "1"}
    without |= {"commit": "0123456789", "machine": scripts.results.get_machine()}
    without |= {"settings": {"threads": 1, "repeats": 3}, "environment_mb": 300.0}
    runs = {"median": 1.0, "runs": [1.0, 1.0, 2.0]}
    with_torch = {**without, "system": "ours-tagger-torch", "warm_cpu": runs}
    section = "\n".join(report.make_section([without, with_torch]))
    assert "first pass 1.00, warm 2.00, latency 1.00" in section
    assert section.count("| 300 |") == 2
    with_torch["date"] = "2"
    assert report.compare_with_torch([without, with_torch]) == {}


def test_whole_pipelines_stand_in_one_table(scripts):
    gold = dict.fromkeys(scripts.whole.METRICS, 0.9)
    ours = {
        "inference": {"best": 30_000.0},
        "latency_ms": 4.04,
        "memory_mb": {"peak": 500.2},
        "size_mb": 12.0,
        "scores": {"gold": gold, "raw": {**gold, "LAS": 0.8}},
        "ents_f": None,
    }
    theirs = {**ours, "inference": {"best": 10_000.0}, "ents_f": 0.625}
    lines = scripts.whole.make_whole_table({"rnn_web_0": ours, "cnn_web_0": theirs}).splitlines()
    assert lines[0] == "| test set | rnn_web_0 | cnn_web_0 |"
    assert "| words/s from text | 30,000 | 10,000 |" in lines
    assert "| the first is faster by | 1.00 | 3.00 |" in lines
    assert "| LAS, gold tokens | 90.00 | 90.00 |" in lines
    assert "| LAS, raw text | 80.00 | 80.00 |" in lines
    assert "| entities, gold tokens |  | 62.50 |" in lines


def test_half_of_the_words_are_new(scripts):
    known = {"the", "was", "in", "a", ",", "."}
    texts = [["the", "geese", "was", "in", "Oslo", "."], ["the", "."], ["Ah", "!", "."]]
    taken = scripts.lemmas.take_half_new(texts, known)
    assert len(taken) == 2
    assert len(taken[0]) == 4 and [word for word in taken[0] if word not in known] == [
        "geese",
        "Oslo",
    ]
    assert taken[1] == ["Ah", "!", "."]
    positions = [texts[0].index(word) for word in taken[0]]
    assert positions == sorted(positions)


def test_lemmatizers_are_measured_beside_their_accuracies(scripts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scripts.lemmas, "LEMMATIZER", tmp_path)
    nlp = make_lemmatizer()
    model = tmp_path / "training" / "bank" / "rnn_0" / "model-best"
    model.parent.mkdir(parents=True)
    nlp.to_disk(model)
    corpus = tmp_path / "corpus" / "bank"
    corpus.mkdir(parents=True)
    for part, sentences in {"train": SENTENCES[:2], "test": SENTENCES}.items():
        DocBin(docs=make_docs(nlp, sentences)).to_disk(corpus / f"{part}.spacy")
    for seed, unseen in enumerate((0.5, 0.75)):
        scores = {"all": 0.9, "seen": 1.0, "unseen": unseen}
        path = tmp_path / "metrics" / "bank" / f"rnn_{seed}_test.json"
        scripts.results.write_json(path, {"predicted tags": scores, "gold tags": scores})
    scripts.lemmas.lemmas_cli(["rnn"], repeats=2, limit=0, results=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert "| bank | rnn |" in lines
    assert "| seeds | 2 |" in lines
    assert "| unseen forms, predicted tags | 62.50 |" in lines
    stored = scripts.results.read_json(tmp_path / "lemmas.json")["treebanks"]["bank"]["rnn"]
    assert stored["gold tags, range"]["unseen"] == [0.5, 0.75]
    assert all(len(stored[key]["runs"]) == 2 for key in ("cold", "warm"))
    # An evaluation without its model, and a lemmatizer and a treebank without one
    scripts.results.write_json(tmp_path / "metrics" / "bank" / "other_0_test.json", {})
    for names, banks in ((["other"], ["bank"]), (["none"], None), (["rnn"], ["none"])):
        with pytest.raises(SystemExit):
            scripts.lemmas.lemmas_cli(names, banks, repeats=1, limit=0, results=tmp_path)
