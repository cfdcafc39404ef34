import torch

from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.modules.rnn.layer import get_weights, make_layer


def make(cell):
    torch.manual_seed(0)
    return make_layer(cell, 6, 8, True)


def test_initialisation_follows_the_literature():
    for name, cell in CELLS.items():
        for weight_ih, weight_hh, bias_ih, bias_hh, *extra in get_weights(make(name)):
            bound = (6 / (6 + 8)) ** 0.5
            for gate, block in enumerate(weight_hh.view(cell.gates, 8, 8)):
                torch.testing.assert_close(block @ block.T, torch.eye(8))
                expected = 1.0 if gate == cell.forget_gate else 0.0
                assert bias_ih.view(cell.gates, 8)[gate].tolist() == [expected] * 8
            assert weight_ih.abs().max() <= bound
            assert not bias_hh.any() and not any(part.any() for part in extra)
    irnn = get_weights(make("irnn"))[0]
    assert torch.equal(irnn[1], torch.eye(8)) and irnn[0].std() < 0.01


def test_parameters_have_the_names_of_torchs_layers():
    kinds = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    expected = [*kinds, *(f"{kind}_reverse" for kind in kinds)]
    for name, cell in CELLS.items():
        names = [key for key in make(name).state_dict() if not key.startswith("extra")]
        assert names == expected
        assert make(name).weight_ih_l0.shape == (cell.gates * 8, 6)
