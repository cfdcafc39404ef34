import pytest
import srsly

from .conftest import run


def test_gradients_over_distance_are_shown(language_model, tmp_path):
    pytest.importorskip("matplotlib")
    model, texts = language_model / "output" / "model-best", language_model / "texts.txt"
    output, chart = tmp_path / "memory.json", tmp_path / "memory.png"
    options = ["--untrained", "-k", 10, "-w", 2, "-o", output, "--chart", chart]
    last = language_model / "output" / "model-last"
    result = run("memory", model, texts, *options, "--also", last, "--state", "cell")
    assert result.exit_code == 0, result.output
    figures = srsly.read_json(output)
    assert "model-best, layer 1 forward" in figures
    assert {len(norms) for norms in figures.values()} == {11}
    assert all(norms[0] == pytest.approx(1.0) for norms in figures.values())
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert run("memory", model, "The dog", "-k", 10).exit_code == 1
