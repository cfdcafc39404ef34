"""The evaluation of the project lemmatizer."""

import pytest
import srsly
from spacy.tokens import DocBin

from ..conftest import ROOT, load_script
from ..pipeline.test_rnn_lemmatizer import SENTENCES, make_docs, make_nlp


@pytest.fixture(scope="module")
def evaluation():
    return load_script(ROOT / "projects" / "lemmatizer" / "scripts" / "evaluate.py")


def test_accuracy_by_seen_and_unseen_form(evaluation, tmp_path, capsys):
    nlp = make_nlp()
    # The table has all forms, but the training data of the evaluation only some.
    DocBin(docs=make_docs(nlp, SENTENCES[:2])).to_disk(tmp_path / "train.spacy")
    docs = make_docs(nlp)
    docs[0][0].lemma_ = "thee"
    docs[3][1].lemma_ = ""
    DocBin(docs=docs).to_disk(tmp_path / "test.spacy")
    nlp.to_disk(tmp_path / "model")
    paths = [tmp_path / name for name in ("train.spacy", "test.spacy")]
    output = tmp_path / "metrics" / "scores.json"
    evaluation.evaluate_cli(str(tmp_path / "model"), *paths, output)
    results = srsly.read_json(output)
    assert set(results) == {"predicted tags", "gold tags", *evaluation.PARTS}
    # Of 19 tokens one has no lemma and one has another; "birds", "sang" and "walked" are unseen.
    for name in ("predicted tags", "gold tags"):
        found = results[name]
        assert found["all"] == pytest.approx(17 / 18)
        assert found["seen"] == pytest.approx(14 / 15)
        assert found["unseen"] == 1.0
        assert found["share_unseen"] == pytest.approx(3 / 18)
    assert "Unseen" in capsys.readouterr().out
