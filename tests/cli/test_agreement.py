import srsly

from .conftest import run


def test_a_language_model_is_tested_on_agreement(language_model, tmp_path):
    model = language_model / "output" / "model-best"
    tasks = tmp_path / "NA_tasks"
    tasks.mkdir()
    rows = [
        "the dog sleeps\tsingular\tcorrect\tid1",
        "the dog run\tsingular\twrong\tid1",
        "Two cats run\tplural\tcorrect\tid2",
        "Two cats xyzzy\tplural\twrong\tid2",
    ]
    (tasks / "simple.txt").write_text("\n".join(rows))
    output, chart = tmp_path / "figures.json", tmp_path / "chart.png"
    result = run("agreement", model, tasks, "-o", output, "--chart", chart)
    assert result.exit_code == 0, result.output
    figures = srsly.read_json(output)["simple"]
    assert [figures[name]["n_items"] for name in ("singular", "plural")] == [1, 0]
    shown = {
        line.split()[1]: line.split()[3:] for line in result.output.splitlines() if "sim" in line
    }
    assert shown == {"singular": ["1", "0"], "plural": ["0", "1"], "all": ["1", "1"]}
    assert run("agreement", model, language_model / "texts.txt").exit_code == 1
