import pytest
import srsly

from .conftest import run


def test_gates_of_units_are_shown(language_model, tmp_path):
    pytest.importorskip("matplotlib")
    model = language_model / "output" / "model-best"
    output, chart = tmp_path / "dynamics.json", tmp_path / "dynamics.png"
    options = ["--unit", 3, "--layer", 1, "-d", "backward", "-o", output, "--chart", chart]
    result = run("dynamics", model, "The old dog sleeps", *options)
    assert result.exit_code == 0, result.output
    figures = srsly.read_json(output)
    assert (figures["words"], figures["units"]) == (["The", "old", "dog", "sleeps"], [3])
    assert set(figures["means"][""]) == {
        "hidden", "cell", "input", "forget", "candidate", "output"
    }  # fmt: skip
    (line,) = (line for line in result.output.splitlines() if "sleeps" in line)
    assert line.split()[2] == f"{figures['means']['']['hidden'][3][0]:.3f}"
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_conditions_are_compared(language_model, tmp_path):
    tasks = tmp_path / "NA_tasks"
    tasks.mkdir()
    rows = [
        f"the {noun} {verb}\t{number}\t{kind}\t{i}"
        for i, (noun, number) in enumerate([("dog", "singular"), ("cats", "plural")] * 2)
        for verb, kind in [("sleeps", "correct"), ("run", "wrong")]
    ]
    (tasks / "simple.txt").write_text("\n".join(rows))
    output = tmp_path / "dynamics.json"
    result = run("dynamics", language_model / "output" / "model-best", tasks, "-o", output)
    assert result.exit_code == 0, result.output
    figures = srsly.read_json(output)
    assert set(figures["deviations"]) == {"singular", "plural"}
    assert figures["words"] == ["word 1", "word 2", "word 3"]
    assert len(figures["units"]) == 2


@pytest.mark.parametrize(
    "options, message",
    [
        (["--layer", 0], "count from 1"),
        (["--layer", 9], "2 layers"),
        (["--unit", 999], "no unit 999"),
        (["--component", "ner"], "no component 'ner'"),
    ],
)
def test_what_is_not_there_is_named(language_model, options, message):
    result = run("dynamics", language_model / "output" / "model-best", "The dog", *options)
    assert result.exit_code == 1
    assert message in result.output
