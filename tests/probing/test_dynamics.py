"""States and gates are those that the model predicts with."""

import numpy
import pytest
import spacy
import torch
from thinc.api import Config, fix_random_seed

from spacy_rnn.kernels import INSTRUCTIONS
from spacy_rnn.layers.torch_shim import get_shim
from spacy_rnn.modules.networks import ENCODER
from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.probing.dynamics import average, get_dynamics
from spacy_rnn.probing.encoders import find_encoder
from spacy_rnn.probing.line_plot import Line, draw_lines

from ..conftest import SMALL_BILM, SMALL_TAGGER, make_nlp

LSTM_GATES = {"hidden", "cell", "forget", "candidate", "output"}
NAMES = {
    "lstm": LSTM_GATES | {"input"},
    "lstm_peephole": LSTM_GATES | {"input"},
    "lstm_coupled": LSTM_GATES,
    "gru": {"hidden", "reset", "update", "candidate"},
    "elman": {"hidden"},
    "irnn": {"hidden"},
}
TEXTS = ["The cat sat .", "", "Dogs bark loudly at the old postman ."]


def make_tagger(cell, **encode):
    config = Config().from_str(SMALL_TAGGER)["model"]
    config["tok2vec"]["encode"] |= {"cell": cell, **encode}
    nlp = make_nlp(config)
    module = get_shim(find_encoder(nlp, "rnn_tagger", ENCODER)).require_module()
    # Larger than at the start, so that gates are not all near their bias.
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            values = numpy.random.default_rng(i).normal(size=parameter.shape) * 0.3
            parameter.copy_(parameter.new_tensor(values))
    return nlp


@pytest.fixture(params=["compiled", "torch"])
def backend(request, monkeypatch):
    if request.param == "compiled" and INSTRUCTIONS is None:
        pytest.skip("there are no compiled kernels")
    if request.param == "torch":
        monkeypatch.setattr("spacy_rnn.kernels.INSTRUCTIONS", None)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_hidden_states_are_those_of_the_prediction(backend, cell):
    nlp = make_tagger(cell)
    docs = [nlp.make_doc(text) for text in TEXTS]
    encoded = nlp.get_pipe("rnn_tagger").model.get_ref("tok2vec").predict(docs)
    for doc, Y, found in zip(docs, encoded, get_dynamics(nlp, docs, "rnn_tagger"), strict=True):
        assert set(found) == NAMES[cell]
        assert {values.shape for values in found.values()} == {(2, 2, len(doc), 8)}
        both = numpy.concatenate(list(found["hidden"][-1]), axis=1)
        numpy.testing.assert_allclose(both, Y, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("directions", ["forward", "both"])
@pytest.mark.parametrize("hidden", [None, 12])
def test_a_language_model_is_traced(backend, directions, hidden):
    config = Config().from_str(f"[components]\n{SMALL_BILM}")["components"]["bilm"]
    config["model"] |= {"directions": directions, "hidden": hidden, "residual": False}
    fix_random_seed(0)
    nlp = spacy.blank("xx")
    nlp.add_pipe("bilm", config={"model": config["model"]}).model.initialize()
    docs = [nlp.make_doc(text) for text in ["The cat  sat", "", "Hi"]]
    layers = nlp.get_pipe("bilm").model.predict(docs)
    n_directions = 2 if directions == "both" else 1
    for doc, Y, found in zip(docs, layers, get_dynamics(nlp, docs, "bilm"), strict=True):
        is_word = [not token.is_space for token in doc]
        assert found["hidden"].shape == (2, n_directions, sum(is_word), hidden or 16)
        if hidden is None:
            expected = Y[1:, is_word].reshape(2, -1, n_directions, 16).swapaxes(1, 2)
            numpy.testing.assert_allclose(found["hidden"], expected, rtol=1e-6, atol=1e-6)


def test_gates_make_the_states():
    nlp = make_tagger("lstm", bidirectional=False)
    (found,) = get_dynamics(nlp, [nlp.make_doc(TEXTS[2])], "rnn_tagger")
    cells = numpy.pad(found["cell"], ((0, 0), (0, 0), (1, 0), (0, 0)))
    expected = found["forget"] * cells[:, :, :-1] + found["input"] * found["candidate"]
    numpy.testing.assert_allclose(found["cell"], expected, atol=1e-6)
    numpy.testing.assert_allclose(
        found["hidden"], found["output"] * numpy.tanh(found["cell"]), atol=1e-6
    )


def test_texts_of_one_length_are_averaged():
    nlp = make_tagger("gru")
    docs = [nlp.make_doc(text) for text in ["The cat sat .", "Dogs bark at me"]]
    dynamics = get_dynamics(nlp, docs, "rnn_tagger")
    means, deviations = average(dynamics)
    both = [values["update"] for values in dynamics]
    numpy.testing.assert_allclose(means["update"], (both[0] + both[1]) / 2, rtol=1e-6)
    numpy.testing.assert_allclose(deviations["update"], abs(both[0] - both[1]) / 2, atol=1e-6)
    with pytest.raises(ValueError, match=r"texts of \[4, 8\] words"):
        average([*dynamics, *get_dynamics(nlp, [nlp.make_doc(TEXTS[2])], "rnn_tagger")])


def test_lines_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    line = Line(numpy.arange(3.0), numpy.ones(3))
    panels = {"hidden": {"singular": line, "plural": Line(line.values)}, "forget": {"": line}}
    draw_lines(panels, tmp_path / "lines.png", labels=["the", "boy", "greets"])
    draw_lines(panels, tmp_path / "log.svg", log=True)
    assert (tmp_path / "lines.png").read_bytes().startswith(b"\x89PNG")
