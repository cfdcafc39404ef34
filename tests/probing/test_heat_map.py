import sys

import numpy
import pytest

from spacy_rnn.probing.heat_map import HeatMap, draw_heat_maps, render_page

MAP = HeatMap("ab → <a>", ["a", "∎"], ["a", "<b>"], numpy.array([[1.0, 0.0], [0.4, 0.6]]))


def test_text_has_a_shade_for_each_weight():
    assert MAP.to_text().splitlines() == ["ab → <a>", "    a   <b>", "a   ███", "∎   ░░░ ▒▒▒"]


def test_wide_characters_fill_two_columns():
    wide = HeatMap("", ["日", "a"], ["日", "é"], numpy.eye(2))
    assert wide.to_text().splitlines() == ["", "   日 é", "日 ██", "a     ██"]


def test_html_shows_names_as_they_are():
    page = render_page([MAP, MAP])
    assert page.count("<table>") == 2
    assert "ab → &lt;a&gt;" in page and "<th>&lt;b&gt;</th>" in page
    assert 'title="0.600"' in page


def test_a_png_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    draw_heat_maps([MAP, MAP], tmp_path / "map.png")
    losses = HeatMap("losses", ["layer 1"], [], numpy.array([[0.2, -3.0, numpy.nan]]))
    draw_heat_maps([losses], tmp_path / "losses.png")
    for name in ("map.png", "losses.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_an_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="spacy-rnn"):
        draw_heat_maps([MAP], tmp_path / "map.png")


def test_a_picture_of_a_long_text_is_refused_before_anything_is_written(tmp_path):
    long = HeatMap("long", ["a"] * 400, ["a"], numpy.ones((400, 1)))
    with pytest.raises(ValueError, match="121 inches high, more than 100"):
        draw_heat_maps([long], tmp_path / "map.png")
    assert not list(tmp_path.iterdir())
