"""States and gates by the definition against those that compiled kernels save."""

import numpy
import pytest
import torch

from spacy_rnn.kernels import INSTRUCTIONS
from spacy_rnn.modules.rnn.cells import CELLS, GatedCell
from spacy_rnn.modules.rnn.trace import trace_direction
from spacy_rnn.modules.step_major import StepMajor

from .test_layers import NI, make_weights

GATED = sorted(name for name, cell in CELLS.items() if isinstance(cell, GatedCell))
# In the order in which kernels save them.
SAVED = {
    "lstm": ["input", "forget", "candidate", "output", "cell"],
    "lstm_peephole": ["input", "forget", "candidate", "output", "cell"],
    "lstm_coupled": ["forget", "candidate", "output", "cell"],
    "gru": ["reset", "update", "candidate"],
}


@pytest.mark.skipif(INSTRUCTIONS is None, reason="there are no compiled kernels")
@pytest.mark.parametrize("cell", GATED)
@pytest.mark.parametrize("units", [7, 16, 19])
def test_gates_are_those_that_kernels_save(cell, units):
    from spacy_rnn.kernels._kernels import LANES, Sequences
    from spacy_rnn.kernels.layout import lay_out_layer

    (weights,) = make_weights(cell, units, bidirectional=False)
    length = 9
    X = torch.randn(length, NI)
    layer = lay_out_layer(cell, *(weight.detach().numpy() for weight in weights))
    saved = numpy.empty((length, layer.saved_width), dtype="f")
    Y = numpy.empty((length, units), dtype="f")
    sequences = Sequences(numpy.array([0]), numpy.array([length]))
    layer.forward(sequences, False, Y, 0, X=X.numpy(), saved=saved)
    with torch.no_grad():
        x = torch.nn.functional.linear(X, weights[0], weights[2])
        trace = trace_direction(CELLS[cell], weights, x, StepMajor.from_lengths([length]))
    found = trace.to_arrays()
    numpy.testing.assert_allclose(found["hidden"], Y, atol=1e-6)
    blocks = saved.reshape(length, layer.units // LANES, -1, LANES)
    for place, name in enumerate(SAVED[cell]):
        expected = blocks[:, :, place].reshape(length, -1)[:, :units]
        numpy.testing.assert_allclose(found[name], expected, atol=1e-6, err_msg=name)
