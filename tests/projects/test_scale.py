"""The project scale: its texts, what it checks, the engines, and the soak test."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from ..conftest import ROOT, load_script

SCRIPTS = ROOT / "projects" / "scale" / "scripts"
SAMPLE = {"memory": 500.0, "words": 1000, "wall": 1.0, "cpu": 1.0}


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.delitem(sys.modules, "texts", raising=False)
    return lambda name: load_script(SCRIPTS / f"{name}.py")


def test_texts_are_read_from_each_format(scripts, tmp_path):
    read_texts = scripts("texts").read_texts
    texts = ["Ada saw Rome.", "Dogs bark."]
    nlp = spacy.blank("xx")
    DocBin(docs=nlp.pipe(texts)).to_disk(tmp_path / "a.spacy")
    (tmp_path / "a.txt").write_text("\n\n".join(texts))
    (tmp_path / "a.conllu").write_text("".join(f"# text = {text}\n1\tx\n\n" for text in texts))
    for suffix in ("spacy", "txt", "conllu"):
        assert read_texts(tmp_path / f"a.{suffix}") == texts
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(ValueError, match="has no texts"):
        read_texts(tmp_path / "a.txt")


def test_new_words_never_end_and_a_seed_repeats_them(scripts):
    make = scripts("texts").make_new_words
    texts = ["Ada walked through ancient Rome yesterday, and it rained."]
    first = list(make(texts, 400, 0))
    assert first == list(make(texts, 400, 0)) != list(make(texts, 400, 1))
    known = set(re.findall(r"\w+", texts[0]))
    new = [word for text in first for word in re.findall(r"\w+", text) if word not in known]
    assert len(set(new)) == len(new) > 400
    assert all(len(text.split()) == 9 and text[:4] == "Ada " for text in first)


def test_missing_doubled_and_unknown_ids_are_found(scripts):
    compare_ids = scripts("check").compare_ids
    assert compare_ids([1, 2, 3], [3, 1, 2]) == []
    assert compare_ids([1, 2, 3], [3, 3, 2]) == ["id 1 is missing", "id 3 is there 2 times"]
    assert compare_ids([1], [1, 4]) == ["id 4 is unknown"]


def test_values_are_the_same_but_for_the_last_digits(scripts):
    is_same = scripts("check").is_same
    entity = {"start": 0, "label": "PERSON", "probability": 0.5}
    assert is_same([entity], [{**entity, "probability": 0.500001}])
    for change in ({"start": 1}, {"label": "LOC"}, {"probability": 0.51}, {"probability": None}):
        assert not is_same([entity], [{**entity, **change}])
    assert not is_same([entity], []) and not is_same({"a": 1.0}, {"b": 1.0})


def make_samples(soak, **change):
    """A run in which something changes by so much from each part to the next."""
    return [
        soak.Sample(
            **{**SAMPLE, **{name: SAMPLE[name] + i * step for name, step in change.items()}}
        )
        for i in range(20)
    ]


def test_growth_and_loss_of_speed_are_found(scripts):
    soak = scripts("soak")
    assert soak.find_problems(make_samples(soak)) == []
    assert soak.find_problems(make_samples(soak, memory=0.8)) == []
    (problem,) = soak.find_problems(make_samples(soak, memory=1.0))
    assert problem == "Memory grew by 18.0 MB, more than 15.0 MB."
    assert soak.find_problems(make_samples(soak, wall=0.01)) == []
    (problem,) = soak.find_problems(make_samples(soak, wall=0.01, cpu=0.01))
    assert re.fullmatch(r"Speed dropped by 13\.\d%, more than 5%\.", problem)


def test_the_soak_runs(scripts, trained_nlp, tmp_path, capsys):
    trained_nlp.to_disk(tmp_path / "pipeline")
    (tmp_path / "texts.txt").write_text("Dogs barked loudly .\nIn Paris two birds sang .")
    soak = scripts("soak")
    soak.find_problems = lambda samples: [f"{len(samples)} parts, {samples[0].words} words"]
    with pytest.raises(SystemExit):
        soak.soak_cli(tmp_path / "pipeline", tmp_path / "texts.txt", n_texts=200, seed=0)
    printed = capsys.readouterr().out
    assert "200 texts through rnn_tagger" in printed and "20 parts, 50 words" in printed
    assert len(re.findall(r"^ +\d+ +[\d.]+ +[\d,]+ +[\d,]+$", printed, re.MULTILINE)) == 20


@pytest.fixture
def texts(scripts, trained_nlp, tmp_path):
    """A pipeline and a table of texts, with their directory."""
    pytest.importorskip("pyarrow", reason="needs pyarrow: install the extra scale")
    trained_nlp.to_disk(tmp_path / "pipeline")
    (tmp_path / "texts.txt").write_text("Dogs bark .\nIn Paris , two birds sang .\nShe sings .")
    scripts("make_texts").make_cli(tmp_path / "texts.txt", tmp_path / "texts", 500, files=4)
    return tmp_path


def test_both_formats_have_the_same_texts(texts, scripts):
    read_rows = scripts("check").read_rows
    rows = read_rows(texts / "texts" / "parquet")
    assert rows == read_rows(texts / "texts" / "jsonl")
    assert [row["id"] for row in rows] == list(range(500))
    assert rows[3]["text"] == "Dogs bark ."


def run(script, *args):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, SCRIPTS / f"{script}.py", *args]
    subprocess.run(
        [str(word) for word in command], env={**os.environ, "PYTHONPATH": path}, check=True
    )


def skip_without(engine):
    pytest.importorskip(engine, reason=f"needs {engine}: install the extra scale")
    if engine == "pyspark" and not shutil.which("java"):
        pytest.skip("needs Java, for Spark")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "pyspark"])
@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_an_engine_annotates_like_the_pipeline_alone(texts, scripts, engine, format):
    skip_without(engine)
    script = f"annotate_{engine.removeprefix('py')}"
    source = texts / "texts" / format
    columns = "tags,docbin" if format == "parquet" else "tokens,tags,entities,cats"
    options = ["--jsonl"] if format == "jsonl" else []
    arguments = (texts / "pipeline", source, texts / "out", "--columns", columns, *options)
    run(script, *arguments, "--batch-size", 100)
    run("check", texts / "pipeline", source, texts / "out")
    rows = scripts("check").read_rows(texts / "out")
    assert {*rows[0]} == {"id", "text", *columns.split(",")}
    tags = [token.tag_ for token in spacy.load(texts / "pipeline")("Dogs bark .")]
    (first,) = (row for row in rows if row["id"] == 0)
    assert srsly.json_loads(first["tags"]) == tags


KILLS = {
    "ray-actor": ["--batch-size", 2000],
    "spark-worker": ["--partitions", 12],
    "spark-executor": ["--partitions", 12, "--master", "local-cluster[2,1,1024]"],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KILLS)
def test_a_killed_worker_loses_nothing(texts, scripts, kind):
    skip_without("ray" if kind == "ray-actor" else "pyspark")
    make = scripts("make_texts").make_cli
    make(texts / "texts.txt", texts / "texts", 60_000, files=4)
    source, pipeline = texts / "texts" / "parquet", texts / "pipeline"
    run("kill", kind, pipeline, source, texts / "out", *KILLS[kind])
    run("check", pipeline, source, texts / "out")
