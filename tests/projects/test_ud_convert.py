"""Tests of the ud_tagger project: conversion of CoNLL-U, and its project.yml."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import spacy
import srsly
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus
from weasel.util import load_project_config

from ..conftest import ROOT, load_script

PROJECT = ROOT / "projects" / "ud_tagger"

CONLLU = """\
# sent_id = 1
# text = Vámonos al mar, _.
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\tV\tMood=Imp|Number=Plur\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tP\tCase=Acc\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\tI\t_\t5\tcase\t_\t_
4\tel\t_\tDET\t_\tDefinite=Def\t5\tdet\t_\t_
4.1\tfue\tser\tVERB\tV\t_\t_\t_\t0:root\t_
5\tmar\tmar\tNOUN\tN\t_\t1\tobl\t_\tSpaceAfter=No
6\t_\t_\tPUNCT\tF\t_\t1\tpunct\t_\t_

# sent_id = 2
1\t10 000\t10 000\tNUM\tZ\t_\t2\tnummod\t_\t_
2\taños\taño\tNOUN\tN\tNumber=Plur\t0\troot\t_\t_

"""
# Sentences and words of the releases, as their stats.xml has them
COUNTS = {
    "ud_en_ewt/en_ewt-ud-train": (12544, 204577),
    "ud_en_ewt/en_ewt-ud-dev": (2001, 25147),
    "ud_en_ewt/en_ewt-ud-test": (2077, 25094),
    "ud_tr_imst/tr_imst-ud-train": (3435, 37522),
    "ud_tr_imst/tr_imst-ud-dev": (1100, 10542),
    "ud_tr_imst/tr_imst-ud-test": (1100, 10032),
    "ud_fr_sequoia/fr_sequoia-ud-train": (2231, 50502),
    "ud_fr_sequoia/fr_sequoia-ud-dev": (412, 9999),
    "ud_fr_sequoia/fr_sequoia-ud-test": (456, 10044),
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(PROJECT / "scripts" / "convert.py")


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    return load_script(PROJECT / "scripts" / "check.py")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf8", newline="")
    return path


def read(path: Path, lang: str = "es") -> list[Doc]:
    return list(DocBin().from_disk(path).get_docs(spacy.blank(lang).vocab))


def write_config(tmp_path: Path, factory: str) -> Path:
    text = (
        f'[nlp]\nlang = "es"\npipeline = ["c"]\n[components]\n[components.c]\nfactory = "{factory}"'
    )
    return write(tmp_path / f"{factory}.cfg", text)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_ud_convert_annotation(script: ModuleType, tmp_path: Path, newline: str) -> None:
    source = write(tmp_path / "in.conllu", CONLLU.replace("\n", newline))
    target = tmp_path / "new" / "out.spacy"
    counts = script.convert(source, target, "es")
    assert [path.name for path in target.parent.iterdir()] == ["out.spacy"]
    first, second = read(target)
    assert all(doc.has_unknown_spaces for doc in (first, second))
    assert [t.text for t in first] == ["Vamos", "nos", "a", "el", "mar", "_"]
    assert [t.tag_ for t in first] == ["V", "P", "I", "", "N", "F"]
    assert [t.pos_ for t in first] == ["VERB", "PRON", "ADP", "DET", "NOUN", "PUNCT"]
    assert [t.lemma_ for t in first] == ["ir", "nosotros", "a", "", "mar", "_"]
    assert [t.head.i for t in first] == [0, 0, 4, 4, 0, 0]
    assert [t.dep_ for t in first] == ["ROOT", "obj", "case", "det", "obl", "punct"]
    assert [str(t.morph) for t in first][:3] == ["Mood=Imp|Number=Plur", "Case=Acc", ""]
    assert [t.text for t in second] == ["10 000", "años"]
    assert all(len(list(doc.sents)) == 1 for doc in (first, second))
    expected = {"sentences": 2, "words": 8, "tag": 7, "pos": 8, "morph": 4, "lemma": 7, "dep": 8}
    assert counts == expected


def test_ud_convert_no_features_is_annotation(script: ModuleType, tmp_path: Path) -> None:
    # A word without features is gold for the morphologizer, unlike one that has no annotation
    script.convert(write(tmp_path / "in.conllu", CONLLU), tmp_path / "out.spacy", "es")
    assert all(token.has_morph() for doc in read(tmp_path / "out.spacy") for token in doc)


def test_ud_convert_corpus_keeps_tokens(script: ModuleType, tmp_path: Path) -> None:
    script.convert(write(tmp_path / "in.conllu", CONLLU), tmp_path / "out.spacy", "es")
    corpus = Corpus(tmp_path / "out.spacy", gold_preproc=False)
    for example in corpus(spacy.blank("es")):
        assert [t.text for t in example.predicted] == [t.text for t in example.reference]
        assert example.get_aligned("TAG", as_string=True) == [t.tag_ for t in example.reference]


@pytest.mark.parametrize("heads", [("_", "_"), ("0", "_")])
def test_ud_convert_missing_trees(script: ModuleType, tmp_path: Path, heads: list[str]) -> None:
    rows = [
        f"{i}\tw\tw\tNOUN\tN\t_\t{head}\t{'root' if head == '0' else '_'}\t_\t_\n"
        for i, head in enumerate(heads, start=1)
    ]
    source = write(tmp_path / "in.conllu", "".join(rows) + "\n")
    counts = script.convert(source, tmp_path / "out.spacy", "xx")
    (doc,) = read(tmp_path / "out.spacy", "xx")
    assert counts["dep"] == sum(head != "_" for head in heads)
    assert [t.dep_ for t in doc] == ["ROOT" if head == "0" else "" for head in heads]
    assert len(list(doc.sents)) == 1


def test_ud_convert_same_bytes(script: ModuleType, tmp_path: Path) -> None:
    # Or else weasel would train again after each conversion
    source = write(tmp_path / "in.conllu", CONLLU)
    for name in ("a.spacy", "b.spacy"):
        script.convert(source, tmp_path / name, "es")
    assert (tmp_path / "a.spacy").read_bytes() == (tmp_path / "b.spacy").read_bytes()


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is empty"),
        ("# nothing\n\n\n", "holds no sentence"),
        ("<html>404: Not Found</html>\n", "line 1: 1 columns"),
        (CONLLU[: CONLLU.index("\tobl")], "line 10: 7 columns"),
        (CONLLU[: CONLLU.index("2\taños")], "ends within a sentence"),
        (CONLLU.replace("2\tnos", "3\tnos"), "line 5: word ID '3' where 2 is due"),
        (CONLLU.replace("\t1\tobl", "\t7\tobl"), "line 10: head '7'"),
        (CONLLU.replace("\t1\tobl", "\tx\tobl"), "line 10: head 'x'"),
        (CONLLU.replace("\tADP", "\tADPO"), "line 7: 'ADPO'"),
        (CONLLU.replace("Case=Acc", "Acc"), "line 5: 'Acc'"),
        (CONLLU.replace("\tnos\t", "\t\t"), "line 5: the word is empty"),
        (CONLLU.replace("\t0\troot", "\t2\tx", 1), "sentence from line 4: "),
    ],
)
def test_ud_convert_broken_files(
    script: ModuleType, tmp_path: Path, text: str, message: str
) -> None:
    source = write(tmp_path / "in.conllu", text)
    with pytest.raises(script.ConlluError) as excinfo:
        script.convert(source, tmp_path / "out.spacy", "es")
    assert message in str(excinfo.value)
    assert str(source) in str(excinfo.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.conllu"]


def test_ud_convert_no_such_file(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(script.ConlluError, match="does not exist"):
        script.convert(tmp_path / "none.conllu", tmp_path / "out.spacy")
    (tmp_path / "latin.conllu").write_bytes("# ñ".encode("latin1"))
    with pytest.raises(script.ConlluError, match="line 1: not UTF-8"):
        script.convert(tmp_path / "latin.conllu", tmp_path / "out.spacy")


def test_ud_convert_failure_keeps_old_output(script: ModuleType, tmp_path: Path) -> None:
    target = write(tmp_path / "out.spacy", "old")
    with pytest.raises(script.ConlluError):
        script.convert(write(tmp_path / "in.conllu", CONLLU[:-1]), target, "es")
    assert target.read_text(encoding="utf8") == "old"


def test_ud_check_finds_missing_annotation(
    script: ModuleType, checker: ModuleType, tmp_path: Path
) -> None:
    lines = [line.split("\t") for line in CONLLU.split("\n")]
    for line in lines:
        if len(line) == 10:
            line[4] = "_"
    source = write(tmp_path / "in.conllu", "\n".join("\t".join(line) for line in lines))
    corpus = tmp_path / "out.spacy"
    script.convert(source, corpus, "es")
    for factory in ("morphologizer", "parser", "trainable_lemmatizer", "rnn_ner"):
        checker.check(write_config(tmp_path, factory), corpus)
    for factory in ("tagger", "rnn_tagger"):
        with pytest.raises(checker.CheckError, match=r"no XPOS .*morphologizer\.cfg"):
            checker.check(write_config(tmp_path, factory), corpus)
    with pytest.raises(checker.CheckError, match=r"none\.cfg does not exist"):
        checker.check(tmp_path / "none.cfg", corpus)


def test_ud_check_wants_one_of_a_components_columns(
    script: ModuleType, checker: ModuleType, tmp_path: Path
) -> None:
    row = "1\tw\t_\t_\tN\t_\t_\t_\t_\t_\n\n"
    script.convert(write(tmp_path / "in.conllu", row), tmp_path / "out.spacy", "xx")
    for factory, columns in [
        ("morphologizer", "UPOS and FEATS"),
        ("parser", "DEPREL"),
        ("trainable_lemmatizer", "LEMMA"),
    ]:
        with pytest.raises(checker.CheckError, match=f"no {columns} "):
            checker.check(write_config(tmp_path, factory), tmp_path / "out.spacy")


def test_ud_check_knows_the_projects_configs(checker: ModuleType) -> None:
    columns = checker.get_columns(PROJECT / "configs" / "morphologizer.cfg")
    assert columns == {"rnn_morphologizer": ("UPOS", "FEATS")}
    default = PROJECT / srsly.read_yaml(PROJECT / "project.yml")["vars"]["config"]
    assert ("XPOS",) in checker.get_columns(default).values()


def test_ud_convert_command_line(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source, target = write(tmp_path / "in.conllu", CONLLU), tmp_path / "out.spacy"
    command = [sys.executable, str(PROJECT / "scripts" / "convert.py"), str(source), str(target)]
    run = subprocess.run([*command, "--lang", "es"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 sentences, 8 words" in " ".join(run.stdout.split())
    with pytest.raises(SystemExit, match="1"):
        script.convert_cli(source, target, lang="qqq")
    assert "can't load the language 'qqq'" in " ".join(capsys.readouterr().out.split())


def test_ud_project_assets_config(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "project.yml", tmp_path)
    for data in ("", "../copies"):
        config = load_project_config(tmp_path, overrides={"vars.data": data} if data else {})
        fetched = [asset for asset in config["assets"] if not asset.get("extra", False)]
        first = {asset["dest"]: asset for asset in reversed(fetched)}
        assert len(first) == 9
        start = (
            f"{data}/ud_" if data else "https://raw.githubusercontent.com/UniversalDependencies/"
        )
        assert all(asset["url"].startswith(start) for asset in first.values())
    # Each file is listed twice, once for either source
    pairs = [(asset["dest"], asset["checksum"]) for asset in config["assets"]]
    assert pairs[:9] == pairs[9:]


def test_ud_project_assets_local(tmp_path: Path, data_dir: Path) -> None:
    shutil.copy(PROJECT / "project.yml", tmp_path)
    command = [sys.executable, "-m", "spacy", "project", "assets", str(tmp_path)]
    run = subprocess.run([*command, "--vars.data", str(data_dir)], capture_output=True, text=True)
    assert run.returncode == 0
    assert "✘" not in run.stdout and "✘" not in run.stderr
    assert "Checksum" not in run.stdout
    assert len(list(tmp_path.glob("assets/ud_*/*.conllu"))) == 9


@pytest.mark.parametrize("name", list(COUNTS))
def test_ud_convert_real_data(
    script: ModuleType, tmp_path: Path, data_dir: Path, name: str
) -> None:
    source = data_dir / f"{name}.conllu"
    if not source.exists():
        pytest.skip(f"no {source}")
    counts = script.convert(source, tmp_path / "out.spacy", name[3:5])
    assert (counts["sentences"], counts["words"]) == COUNTS[name]
    assert counts["pos"] == counts["dep"] == counts["words"]
    assert (counts["tag"] == 0) == ("fr_sequoia" in name)
    docs = read(tmp_path / "out.spacy", name[3:5])
    assert all(doc.has_unknown_spaces and len(list(doc.sents)) == 1 for doc in docs)
