import pytest
import srsly
from spacy.tokens import DocBin

from ..conftest import make_docs
from .conftest import run


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A file of number agreement data."""
    tasks = tmp_path_factory.mktemp("ablate") / "NA_tasks"
    tasks.mkdir()
    rows = [
        f"{words} {form}\t{number}\t{kind}\t{i}"
        for i, (words, number) in enumerate([("the dog", "singular"), ("Two cats", "plural")])
        for form, kind in [("sleeps", "correct"), ("run", "wrong")]
    ]
    (tasks / "simple.txt").write_text("\n".join(rows))
    return tasks / "simple.txt"


def test_units_of_a_language_model_are_ablated(language_model, task, tmp_path):
    pytest.importorskip("matplotlib")
    model = language_model / "output" / "model-best"
    files = [tmp_path / name for name in ("table.md", "figures.json", "map.png")]
    options = ["--table", files[0], "-o", files[1], "--chart", files[2], "-r", 2, "-n", 3]
    result = run("ablate", model, task, *options)
    assert result.exit_code == 0, result.output
    figures = srsly.read_json(files[1])
    assert figures["conditions"] == ["singular", "plural"]
    assert len(figures["random"]) == 4
    lines = files[0].read_text().splitlines()
    assert lines[0] == "| Unit | singular | plural |"
    # A line, the scores, a threshold for each layer, three units and their number.
    assert len(lines) == 1 + 1 + 1 + 2 + 3 + 1
    assert lines[-1].startswith(f"| units above random, of {len(figures['units'])} (**) |")
    assert files[2].read_bytes().startswith(b"\x89PNG")
    result = run("ablate", model, task, "-u", "1:0", "-u", "2:1", "-r", 0)
    assert "all of these" in result.output


def test_units_of_an_encoder_are_ablated(trained_nlp, tmp_path):
    trained_nlp.to_disk(tmp_path / "model")
    DocBin(docs=make_docs(trained_nlp)).to_disk(tmp_path / "dev.spacy")
    options = ["--component", "rnn_tagger", "--scores", "tag_acc", "-u", "2:backward:3", "-r", 2]
    result = run("ablate", tmp_path / "model", tmp_path / "dev.spacy", *options)
    assert result.exit_code == 0, result.output
    assert "2:backward:3" in result.output


@pytest.mark.parametrize(
    "options, message",
    [
        (["--unit", "x"], "Unit 'x' must be"),
        (["--unit", "9:1"], "no unit 9:forward:1"),
        (["--scores", "tag_acc"], "by --component"),
    ],
)
def test_what_is_not_there_is_named(language_model, task, options, message):
    result = run("ablate", language_model / "output" / "model-best", task, *options)
    assert (result.exit_code, message in result.output) == (1, True), result.output
