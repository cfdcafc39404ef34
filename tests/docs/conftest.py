"""A directory in which the commands of the documents find what they name."""

import csv
import shutil

import pytest
import spacy
import torch
from spacy.tokens import Doc, DocBin

from ..conftest import ROOT

# Word, tag, part of speech, lemma, head, label, entity.
SENTENCES = [
    """Lena NNP PROPN Lena 2 nsubj B-PERSON
    lives VBZ VERB live 0 ROOT O
    in IN ADP in 4 case O
    Graz NNP PROPN Graz 2 obl B-LOC
    . . PUNCT . 2 punct O""",
    """The DT DET the 2 det O
    dogs NNS NOUN dog 3 nsubj O
    bark VBP VERB bark 0 ROOT O
    . . PUNCT . 3 punct O""",
]
TEXTS = ["The old man sat down .", "The old dog sat in the sun .", "She sat down ."]


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """Data in all formats that the documents name."""
    path = tmp_path_factory.mktemp("documents")
    vocab, docs, conllu, iob = spacy.blank("en").vocab, [], [], []
    for sentence in SENTENCES:
        rows = [line.split() for line in sentence.splitlines()]
        for i, (word, tag, pos, lemma, head, dep, _) in enumerate(rows, 1):
            conllu.append("\t".join([str(i), word, lemma, pos, tag, "_", head, dep, "_", "_"]))
        conllu.append("")
        iob.append(" ".join(f"{row[0]}|{row[1]}|{row[6]}" for row in rows))
        words, tags, pos, lemmas, heads, deps, ents = map(list, zip(*rows, strict=True))
        heads = [int(head) - 1 if int(head) else i for i, head in enumerate(heads)]
        morphs = ["Case=Nom"] * len(words)
        trees = {"heads": heads, "deps": deps, "lemmas": lemmas, "morphs": morphs}
        doc = Doc(vocab, words=words, tags=tags, pos=pos, ents=ents, **trees)
        doc.cats = {"ANIMAL": float("dogs" in words), "PERSON": float("Lena" in words)}
        docs.append(doc)
    # Fewer would be too few for `spacy debug data`, or for spaCy's parser.
    for name, copies in (("train", 60), ("treebank", 30), ("dev", 1), ("test", 1)):
        DocBin(docs=docs * copies).to_disk(path / f"{name}.spacy")
    (path / "treebank.conllu").write_text("\n".join(conllu) + "\n")
    (path / "entities.iob").write_text("\n".join(iob) + "\n")
    with open(path / "texts.csv", "w", newline="") as file:
        rows = [("text", "label"), ("Where is my card?", "CARD"), ("What is the rate?", "RATE")]
        csv.writer(file).writerows(rows)
    (path / "texts").mkdir()
    (path / "texts" / "texts.txt").write_text("\n".join(TEXTS * 40))
    (path / "dev.txt").write_text("\n".join(TEXTS))
    tasks = path / "DATA" / "NA_tasks"
    tasks.mkdir(parents=True)
    (tasks / "simple.txt").write_text(
        "The old man sat\tsingular\tcorrect\t1\nThe old man sing\tsingular\twrong\t1\n"
        "The old dog sat\tsingular\tcorrect\t2\nThe old dog in\tsingular\twrong\t2\n"
    )
    for name in ("configs", "projects"):
        (path / name).symlink_to(ROOT / name)
    return path


@pytest.fixture
def workplace(template, tmp_path, monkeypatch):
    """A copy of it, which is where the test runs."""
    path = tmp_path / "workplace"
    shutil.copytree(template, path, symlinks=True)
    monkeypatch.chdir(path)
    n_threads = torch.get_num_threads()
    yield path
    # A page may set it.
    torch.set_num_threads(n_threads)
