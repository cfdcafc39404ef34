"""Tests of the pipeline project: entities from another file, Docs of several sentences, the config
for a treebank, and the evaluation.
"""

from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import spacy
import srsly
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus
from thinc.api import Config

from ..conftest import ROOT, load_script

PROJECT = ROOT / "projects" / "pipeline"
CONFIG = ROOT / "configs" / "pipeline.cfg"

CONLLU = """\
# newdoc id = a
# sent_id = a-1
# text = Ada doesn't like @Bob Ray.
1\tAda\tAda\tPROPN\tNNP\tNumber=Sing\t4\tnsubj\t_\t_
2-3\tdoesn't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdoes\tdo\tAUX\tVBZ\tMood=Ind|Tense=Pres\t4\taux\t_\t_
3\tn't\tnot\tPART\tRB\tPolarity=Neg\t4\tadvmod\t_\t_
4\tlike\tlike\tVERB\tVB\tVerbForm=Inf\t0\troot\t_\t_
5\t@Bob\t@Bob\tPROPN\tNNP\tNumber=Sing\t4\tobj\t_\t_
6\tRay\tRay\tPROPN\tNNP\tNumber=Sing\t5\tflat\t_\tSpaceAfter=No
7\t.\t.\tPUNCT\t.\t_\t4\tpunct\t_\t_

# sent_id = a-2
# text = Dinners Club in London!
1\tDinners\tdinner\tNOUN\tNNS\tNumber=Plur\t2\tcompound\t_\t_
2\tClub\tclub\tNOUN\tNN\tNumber=Sing\t0\troot\t_\t_
2.1\tis\tbe\tVERB\tVBZ\t_\t_\t_\t0:root\t_
3\tin\tin\tADP\tIN\t_\t4\tcase\t_\t_
4\tLondon\tLondon\tPROPN\tNNP\tNumber=Sing\t2\tnmod\t_\tSpaceAfter=No
5\t!\t!\tPUNCT\t.\t_\t2\tpunct\t_\tSpaceAfter=No

# sent_id = a-3
# text = Go!
1\tGo\tgo\tVERB\tVB\tMood=Imp\t0\troot\t_\tSpaceAfter=No
2\t!\t!\tPUNCT\t.\t_\t1\tpunct\t_\t_

# sent_id = a-4
# newpar id = a-p2
# text = Lyon
1\tLyon\tLyon\tPROPN\tNNP\tNumber=Sing\t0\troot\t_\t_

"""
# The sentences in another order and with other words, as an older release has them
IOB = """\
# newdoc id = a
# sent_id = a-4
# text = Lyon
1\tLyon\tB-LOC\t-\tx

# sent_id = a-2
1\tDinner\tB-ORG\t-\tx
2\ts\tI-ORG\t-\tx
3\tClub\tI-ORG\t-\tx
4\tin\tO
5\tLondon\tB-LOC\t-\tx
6\t!\tB-O\t-\tx

# sent_id = a-3
1\tGo\tO
2\t!\tO

# sent_id = a-1
1\tAda\tB-PER\t-\tx
2\tdoes\tO
3\tn't\tO
4\tlike\tO
5\t@\tO
6\tBob\tB-PER\t-\tx
7\tRay\tI-PER\t-\tx
8\t.\tB-OTH\t-\tx
"""


@pytest.fixture(scope="module")
def converter() -> ModuleType:
    return load_script(ROOT / "projects" / "ud_tagger" / "scripts" / "convert.py")


@pytest.fixture(scope="module")
def configurer() -> ModuleType:
    return load_script(PROJECT / "scripts" / "configure.py")


@pytest.fixture(scope="module")
def evaluation() -> ModuleType:
    return load_script(PROJECT / "scripts" / "evaluate.py")


def convert(
    converter: ModuleType, folder: Path, iob: str | None = IOB, max_sentences: int = 10
) -> tuple[Counter[str], list[Doc]]:
    (folder / "in.conllu").write_text(CONLLU, encoding="utf8")
    iob_path = folder / "in.iob2"
    if iob:
        iob_path.write_text(iob, encoding="utf8")
    counts = converter.convert(
        folder / "in.conllu",
        folder / "out.spacy",
        "en",
        max_sentences,
        iob_path if iob is not None else None,
        ("OTH", "O"),
    )
    return counts, list(DocBin().from_disk(folder / "out.spacy").get_docs(spacy.blank("en").vocab))


def make_predictor(docs: list[Doc]) -> SimpleNamespace:
    """A pipeline that predicts these Docs."""
    return SimpleNamespace(vocab=docs[0].vocab, pipe=lambda texts: docs)


def test_docs_are_paragraphs(converter: ModuleType, tmp_path: Path) -> None:
    _, docs = convert(converter, tmp_path)
    assert [len(list(doc.sents)) for doc in docs] == [3, 1]
    assert [token.head.i for token in docs[0]] == [3, 3, 3, 3, 3, 4, 3, 8, 8, 10, 8, 8, 12, 12]
    assert [sent.root.text for sent in docs[0].sents] == ["like", "Club", "Go"]
    assert all(sent.root.dep_ == "ROOT" for doc in docs for sent in doc.sents)
    assert all(token.has_morph() for doc in docs for token in doc)
    _, docs = convert(converter, tmp_path, max_sentences=2)
    assert [len(list(doc.sents)) for doc in docs] == [2, 1, 1]
    for example in Corpus(tmp_path / "out.spacy")(spacy.blank("en")):
        assert [t.text for t in example.predicted] == [t.text for t in example.reference]


def test_entities_are_joined_by_sentence(converter: ModuleType, tmp_path: Path) -> None:
    counts, docs = convert(converter, tmp_path)
    entities = [(ent.text, ent.label_) for doc in docs for ent in doc.ents]
    assert entities == [
        ("Ada", "PER"),
        ("Dinners Club", "ORG"),
        ("London", "LOC"),
        ("Lyon", "LOC"),
    ]
    # The entity "Bob Ray" begins within a word.
    missing = [token.text for doc in docs for token in doc if token.ent_iob == 0]
    assert missing == ["@Bob", "Ray"]
    assert (counts["ents"], counts["without_ents"]) == (4, 0)


def test_sentences_without_entities_have_no_annotation(
    converter: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for iob in (IOB.replace("a-3", "b-3"), IOB.replace("\tGo", "\tGone")):
        with pytest.raises(converter.ConlluError, match=r"1 of 4 sentences are not in .*in\.iob2"):
            convert(converter, tmp_path, iob)
    assert not (tmp_path / "out.spacy").exists()
    monkeypatch.setattr(converter, "MAX_WITHOUT_ENTITIES", 0.25)
    counts, docs = convert(converter, tmp_path, IOB.replace("a-3", "b-3"))
    assert counts["without_ents"] == 1
    assert [token.text for token in docs[0] if token.ent_iob == 0][2:] == ["Go", "!"]


@pytest.mark.parametrize(
    "iob, message",
    [
        ("", "in.iob2 does not exist"),
        (IOB.replace("I-ORG", "I-PER"), "line 8: 'I-PER' is no IOB2 tag after 'B-ORG'"),
        (IOB.replace("Go\tO", "Go\tX"), "line 15: 'X' is no IOB2 tag after 'O'"),
        (IOB.replace("Go\tO", "Go"), "line 15: '' is no IOB2 tag"),
        (IOB.replace("# sent_id = a-4\n", ""), "a sentence has no '# sent_id = ...'"),
    ],
)
def test_broken_entity_files(converter: ModuleType, tmp_path: Path, iob: str, message: str) -> None:
    with pytest.raises(converter.ConlluError) as excinfo:
        convert(converter, tmp_path, iob)
    assert message in str(excinfo.value)


def test_command_line_names_the_directory_of_entities(
    converter: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    convert(converter, tmp_path)
    paths = [tmp_path / "in.conllu", tmp_path / "cli.spacy"]
    converter.convert_cli(*paths, sentences=10, entities=str(tmp_path), drop=["OTH", "O"])
    assert "entities 4" in " ".join(capsys.readouterr().out.split())
    assert paths[1].read_bytes() == (tmp_path / "out.spacy").read_bytes()
    converter.convert_cli(*paths, entities="")
    assert "entities" not in capsys.readouterr().out


def test_components_without_annotation_are_dropped(
    converter: ModuleType, configurer: ModuleType, tmp_path: Path
) -> None:
    before = Config().from_disk(CONFIG, interpolate=False)
    convert(converter, tmp_path)
    config, dropped = configurer.configure(CONFIG, tmp_path / "out.spacy")
    assert (config.to_str(), dropped) == (before.to_str(), [])
    convert(converter, tmp_path, iob=None)
    config, dropped = configurer.configure(CONFIG, tmp_path / "out.spacy")
    assert dropped == ["rnn_ner"]
    assert config["nlp"]["pipeline"] == before["nlp"]["pipeline"][:-1]
    assert "rnn_ner" not in config["components"]
    assert "rnn_ner" not in config["components"]["tok2vec"]["loss_weights"]
    docs = [Doc(spacy.blank("en").vocab, words=["Go"], lemmas=["go"])]
    DocBin(docs=docs).to_disk(tmp_path / "lemmas.spacy")
    config, _ = configurer.configure(CONFIG, tmp_path / "lemmas.spacy")
    assert config["nlp"]["pipeline"] == ["tok2vec", "rnn_lemmatizer"]
    assert config["training"]["annotating_components"] == ["tok2vec"]


def test_gold_predictions_score_1(
    converter: ModuleType, evaluation: ModuleType, tmp_path: Path
) -> None:
    _, docs = convert(converter, tmp_path, max_sentences=1)
    lines = CONLLU.split("\n")
    predicted = evaluation.annotate_gold_tokens(make_predictor(docs), lines)
    # But for the row of the empty node and spaces, it is the file again.
    expected = [line for line in lines if not line.startswith("2.1")]
    assert [line.split("\t")[:9] for line in predicted.split("\n")] == [
        line.split("\t")[:9] for line in expected
    ]
    assert set(evaluation.score(CONLLU, predicted).values()) == {1.0}


def test_evaluation_writes_scores_and_predictions(
    converter: ModuleType,
    evaluation: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    _, docs = convert(converter, tmp_path, max_sentences=1)
    monkeypatch.setattr(evaluation.spacy, "load", lambda name: make_predictor(docs))
    evaluation.evaluate_cli("pipeline", tmp_path / "in.conllu", tmp_path / "scores")
    assert "LAS 100.00 100.00" in " ".join(capsys.readouterr().out.split())
    scores = srsly.read_json(tmp_path / "scores" / "scores.json")
    assert scores["gold"]["BLEX"] == 1.0
    # Its multiword token is two tokens in raw text.
    assert 0 < scores["raw"]["Tokens"] < 1
    for name in ("gold", "raw"):
        predicted = (tmp_path / "scores" / f"{name}.conllu").read_text(encoding="utf8")
        assert evaluation.score(CONLLU, predicted) == pytest.approx(scores[name])


def test_texts_are_paragraphs(evaluation: ModuleType) -> None:
    assert evaluation.read_texts(CONLLU.split("\n")) == [
        "Ada doesn't like @Bob Ray. Dinners Club in London!Go!",
        "Lyon",
    ]


def test_raw_text_is_scored_by_characters(evaluation: ModuleType) -> None:
    words = ["Ada", "does", "n't", "like", "@Bob", "Ray", ".", "Dinners", "Club", "in", "London"]
    words += ["!", "Go", "!", "Lyon"]
    doc = Doc(spacy.blank("en").vocab, words=words, heads=[0] * 14 + [14], deps=["ROOT"] * 15)
    predicted = evaluation.annotate_texts(make_predictor([doc]), CONLLU.split("\n"))
    scores = evaluation.score(CONLLU, predicted)
    assert scores["Words"] == 1.0
    # One predicted word for each of 15 words is right: the root of the last sentence.
    assert scores["LAS"] == pytest.approx(1 / 15)
    assert scores["Sentences"] == pytest.approx(2 * 1 / (4 + 2))
    # Its tokens are "does" and "n't".
    assert scores["Tokens"] == pytest.approx(2 * 13 / (14 + 15))


def test_a_tree_may_be_as_deep_as_the_text(evaluation: ModuleType) -> None:
    n_words = 5000
    row = "{}\tw\tw\tNOUN\tN\t_\t{}\tdep\t_\t_\n"
    text = "".join(row.format(i, i + 1) for i in range(1, n_words)) + row.format(n_words, 0) + "\n"
    assert evaluation.score(text, text)["LAS"] == 1.0


def test_rows_have_one_root_and_no_white_space(evaluation: ModuleType) -> None:
    doc = Doc(
        spacy.blank("en").vocab,
        words=["Oh", "  ", "no", "!", " ", "Go"],
        spaces=[False, False, False, False, False, True],
        heads=[0, 0, 1, 3, 5, 5],
        deps=["ROOT", "dep", "x", "ROOT", "dep", "ROOT"],
        sent_starts=None,
    )
    rows = [row.split("\t") for row in evaluation.make_rows(doc[:])]
    assert [(row[0], row[1], row[6], row[7], row[9]) for row in rows] == [
        ("1", "Oh", "0", "root", "_"),
        ("2", "no", "1", "x", "SpaceAfter=No"),
        ("3", "!", "1", "dep", "_"),
        ("4", "Go", "1", "dep", "_"),
    ]
    assert evaluation.make_rows(doc[4:5]) == []


def test_given_sentence_starts_are_kept_by_the_parser(evaluation: ModuleType) -> None:
    """What spaCy's parser does that the evaluation relies on."""
    nlp = spacy.blank("en")
    nlp.add_pipe("parser", config={"min_action_freq": 0})
    gold = Doc(
        nlp.vocab,
        words=["Go", "!"] * 5,
        heads=[i // 2 * 2 for i in range(10)],
        deps=["ROOT", "punct"] * 5,
    )
    examples = [spacy.training.Example(Doc(nlp.vocab, words=[t.text for t in gold]), gold)]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(30):
        nlp.update(examples, sgd=optimizer)
    words = ["Go", "!"] * 5
    free, given = (
        nlp(Doc(nlp.vocab, words=words, sent_starts=starts))
        for starts in (None, [i == 0 for i in range(10)])
    )
    assert len(list(free.sents)) == 5
    rows = [row.split("\t") for row in evaluation.make_rows(given[:])]
    assert [row[6] for row in rows].count("0") == 1


def test_show_prints_sentences_and_entities(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "LOC", "pattern": "Lyon"}])  # type: ignore[attr-defined]
    nlp.to_disk(tmp_path)
    load_script(PROJECT / "scripts" / "show.py").show_cli(str(tmp_path), "Go! To Lyon")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines if line[:1] in (["1"], ["2"])] == [
        ["1", "Go"],
        ["2", "!"],
        ["1", "To"],
        ["2", "Lyon"],
    ]
    assert ["Lyon", "LOC"] in lines


def test_show_names_heads_with_their_numbers(converter: ModuleType, tmp_path: Path) -> None:
    show = load_script(PROJECT / "scripts" / "show.py")
    _, docs = convert(converter, tmp_path)
    row = ("2", "Club", "club", "NOUN", "NN", "ROOT", "", "Number=Sing")
    assert show.make_row(docs[0][8]) == row
    assert show.make_row(docs[0][9])[5:7] == ("case", "London (4)")


@pytest.mark.parametrize(
    "part, file, n_docs, entities, n_missing",
    [
        pytest.param(
            "train",
            "en_ewt-ud-train.prerelease-0c7ce0d",
            2913,
            {"PER": 2870, "LOC": 2698, "ORG": 1434},
            43,
            marks=pytest.mark.slow,
        ),
        ("dev", "en_ewt-ud-dev", 771, {"LOC": 399, "PER": 343, "ORG": 224}, 0),
        ("test", "en_ewt-ud-test", 874, {"PER": 449, "ORG": 322, "LOC": 317}, 0),
    ],
)
def test_real_data(
    converter: ModuleType,
    evaluation: ModuleType,
    tmp_path: Path,
    data_dir: Path,
    part: str,
    file: str,
    n_docs: int,
    entities: dict[str, int],
    n_missing: int,
) -> None:
    treebank = data_dir / "ud_en_ewt" / f"en_ewt-ud-{part}.conllu"
    iob_path = data_dir / "uner_en_ewt" / f"{file}.iob2"
    if not iob_path.exists():
        pytest.skip(f"no {iob_path}")
    target = tmp_path / "out.spacy"
    counts = converter.convert(treebank, target, "en", 10, iob_path, ("OTH", "O"))
    docs = list(DocBin().from_disk(target).get_docs(spacy.blank("en").vocab))
    assert len(docs) == n_docs
    assert Counter(ent.label_ for doc in docs for ent in doc.ents) == entities
    assert sum(token.ent_iob == 0 for doc in docs for token in doc) == n_missing
    assert counts["sentences"] == sum(len(list(doc.sents)) for doc in docs)
    if part == "dev":
        converter.convert(treebank, target, "en")
        gold = list(DocBin().from_disk(target).get_docs(spacy.blank("en").vocab))
        text = treebank.read_text(encoding="utf8")
        predicted = evaluation.annotate_gold_tokens(make_predictor(gold), text.split("\n"))
        assert set(evaluation.score(text, predicted).values()) == {1.0}
