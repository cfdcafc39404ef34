from pathlib import Path

import numpy
import pytest
import spacy
import srsly
from spacy.tokens import Doc, DocBin

from ..conftest import ROOT, load_script

convert = load_script(ROOT / "projects" / "ner" / "scripts" / "convert.py")
calibration = load_script(ROOT / "projects" / "ner" / "scripts" / "calibration.py")

PLAIN = "Ada\tB-person\nLovelace\tI-person\nsaw\tO\n\n\t\nRome\tB-LOC\n\tO\n"
NUMBERED = (
    "# text = Ada\n1\tAda\tB-PER\t-\tme\n2\tsaw\tO\n3\tan\tB-O\t-\tme\n4\tIraqi\tB-OTH\t-\tme\n\n"
)


def read(path: Path) -> list[tuple[list[str], list[tuple[str, str]]]]:
    vocab = spacy.blank("en").vocab
    return [
        ([token.text for token in doc], [(ent.text, ent.label_) for ent in doc.ents])
        for doc in DocBin().from_disk(path).get_docs(vocab)
    ]


def test_both_kinds_of_files(tmp_path: Path) -> None:
    paths = [tmp_path / "plain", tmp_path / "numbered"]
    for path, text in zip(paths, (PLAIN, NUMBERED), strict=True):
        path.write_text(text, encoding="utf8")
    output = tmp_path / "new" / "train.spacy"
    counts = convert.convert(paths, output, drop=["OTH", "O"])
    assert read(output) == [
        (["Ada", "Lovelace", "saw"], [("Ada Lovelace", "person")]),
        (["Rome"], [("Rome", "LOC")]),
        (["Ada", "saw", "an", "Iraqi"], [("Ada", "PER")]),
    ]
    assert counts == {"sentences": 3, "words": 8, "PERSON": 1, "LOC": 1, "PER": 1}


@pytest.mark.parametrize(
    "text, message",
    [
        ("Ada O\n", "line 1: no tab"),
        ("Ada\tX-PER\n", "line 1: 'X-PER' is no IOB2 tag"),
        ("Ada\tO\nx\tI-PER\n", "line 2: 'I-PER' follows 'O'"),
        ("", "holds no sentence"),
    ],
)
def test_broken_files_are_named_and_nothing_is_written(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "broken"
    path.write_text(text, encoding="utf8")
    with pytest.raises(convert.IobError, match=message):
        convert.convert([path], tmp_path / "out.spacy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken"]
    with pytest.raises(convert.IobError, match="does not exist"):
        convert.convert([tmp_path / "absent"], tmp_path / "out.spacy")


def test_calibration_error() -> None:
    probs = numpy.array([0.95, 0.95, 0.45, 1.0])
    right = numpy.array([True, False, False, True])
    result = calibration.calibrate(probs, right)
    # The last bin has three entities, of mean 0.9667, and two of them are right.
    assert result["ece"] == pytest.approx(0.75 * (0.96667 - 0.66667) + 0.25 * 0.45, abs=1e-4)
    assert result["bins"][9] == {"n": 3, "mean": 0.967, "right": 0.667}
    assert result["bins"][0] == {"n": 0, "mean": 0.0, "right": 0.0}


def test_a_model_that_finds_nothing_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("rnn_ner", config={"threshold": 1.0})
    ner.add_label("PER")  # type: ignore[attr-defined]
    nlp.initialize()
    nlp.to_disk(tmp_path / "model")
    doc = Doc(nlp.vocab, words=["Ada", "saw"], ents=["B-PER", "O"])
    DocBin(docs=[doc]).to_disk(tmp_path / "test.spacy")
    output = tmp_path / "metrics" / "calibration.json"
    calibration.calibration_cli(tmp_path / "model", tmp_path / "test.spacy", output)
    result = srsly.read_json(output)
    assert (result["n"], result["ece"], len(result["bins"])) == (0, None, 10)
    assert "predicts no entities" in " ".join(capsys.readouterr().out.split())
