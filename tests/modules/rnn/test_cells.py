"""A new cell is one class, which this file adds by itself."""

import spacy
import torch
from thinc.api import Adam, Config, fix_random_seed

from spacy_rnn.modules.rnn.cells import CELLS, Cell

from ...conftest import SMALL_TAGGER, make_examples


class MinimalGatedUnit(Cell):
    """One gate that forgets and resets (Zhou et al. 2016)."""

    gates, forget_gate = 2, 0

    def step(self, x, u, state, *extra):
        (x_f, x_n), (u_f, u_n) = x.chunk(2, dim=1), u.chunk(2, dim=1)
        f = (x_f + u_f).sigmoid()
        return (torch.lerp(state[0], (x_n + f * u_n).tanh(), f),)


def test_a_cell_is_one_class(monkeypatch, tmp_path):
    monkeypatch.setitem(CELLS, "minimal", MinimalGatedUnit())
    config = Config().from_str(SMALL_TAGGER)["model"]
    config["tok2vec"]["encode"]["cell"] = "minimal"
    nlp = spacy.blank("en")
    fix_random_seed(0)
    nlp.add_pipe("rnn_tagger", config={"model": config})
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    optimizer = Adam(0.02)
    for _ in range(40):
        nlp.update(examples, sgd=optimizer)
    assert nlp.evaluate(examples)["tag_acc"] == 1.0
    nlp.to_disk(tmp_path)
    doc = nlp("The old cat sat .")
    assert [t.tag_ for t in spacy.load(tmp_path)("The old cat sat .")] == [t.tag_ for t in doc]


def test_definitions_of_gated_cells_reduce_to_the_lstm():
    """A peephole LSTM without peepholes is an LSTM, and so is a coupled one whose input gate is one
    minus its forget gate.
    """
    torch.manual_seed(0)
    x, u, h, c = torch.randn(3, 8), torch.randn(3, 8), torch.randn(3, 2), torch.randn(3, 2)
    expected = CELLS["lstm"].step(x, u, (h, c))
    found = CELLS["lstm_peephole"].step(x, u, (h, c), torch.zeros(3, 2))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    f, g, o = (x + u)[:, 2:].chunk(3, dim=1)
    expected = CELLS["lstm"].step(torch.cat([-f, f, g, o], dim=1), torch.zeros_like(x), (h, c))
    found = CELLS["lstm_coupled"].step(x[:, 2:], u[:, 2:], (h, c))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
