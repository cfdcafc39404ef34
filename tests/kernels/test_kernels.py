"""The compiled kernels compute what torch computes."""

import sys

import numpy
import pytest
import torch

from spacy_rnn import kernels
from spacy_rnn.kernels import INSTRUCTIONS
from spacy_rnn.modules.crf import chain as crf
from spacy_rnn.modules.crf import viterbi
from spacy_rnn.modules.step_major import StepMajor

if INSTRUCTIONS is None:
    pytest.skip("the kernels were not built, or are turned off", allow_module_level=True)

from spacy_rnn.kernels._kernels import LANES, Chains, pick_log_probs, pick_log_probs_back
from spacy_rnn.modules.crf.transitions import Transitions


def test_kernels_that_were_not_built_can_not_be_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy_rnn.kernels._kernels", None)
    monkeypatch.setenv("SPACY_RNN_KERNELS", "avx2")
    with pytest.raises(RuntimeError, match=r"avx2.*compiler"):
        kernels._find_instructions()
    monkeypatch.setenv("SPACY_RNN_KERNELS", "none")
    assert kernels._find_instructions() == (None, False, False)
    monkeypatch.delenv("SPACY_RNN_KERNELS")
    assert kernels._find_instructions() == (None, False, False)


@pytest.mark.parametrize("n_labels", [1, 6, LANES, LANES + 1, 130])
@pytest.mark.parametrize("lengths", [[3, 0, 17, 17, 1], [40], [1], []])
def test_chains_equal_torch(n_labels, lengths, monkeypatch):
    torch.manual_seed(n_labels)
    monkeypatch.setattr(crf, "MAX_CHAINED", 10**9)
    layout = StepMajor.from_lengths(lengths, torch.device("cpu"))
    size, outside = 1 + 2 * n_labels, 2 * n_labels
    scores = torch.randn(sum(lengths), 1 + 4 * n_labels)
    outer, inner = torch.randn(size, size), torch.randn(2, 2, n_labels)
    allowed = torch.rand(scores.shape) < 0.7
    allowed[:, outside] = True
    scores[~allowed] = -torch.inf
    # From anywhere to O
    outer[(torch.rand(size, size) < 0.3) & (torch.arange(size) != n_labels)] = -torch.inf
    inner[torch.rand(inner.shape) < 0.3] = -torch.inf
    transitions = Transitions(outer, inner)
    results = []
    for instructions in (INSTRUCTIONS, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("spacy_rnn.kernels.INSTRUCTIONS", instructions)
            chain = crf.Chain.from_scores(scores, transitions, layout)
            sums = (chain.forward_sums, chain.backward_sums, chain.scales, chain.log_sums)
            results.append((viterbi.find_best(scores, transitions, layout), *sums))
    for ours, torchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-12, atol=1e-12)


def test_wrong_chains_are_refused():
    starts = numpy.array([0, 2, 3])
    for labels, outer in ((1, LANES + 1), (LANES, LANES), (0, LANES)):
        with pytest.raises(ValueError, match="filled up"):
            Chains(starts, labels, outer)
    for wrong in ([0, 1, 3], [0, 2, 2], [1, 2], []):
        with pytest.raises(ValueError, match="step"):
            Chains(numpy.array(wrong, dtype="int64"), 1, LANES)
    chains, shapes = Chains(starts, 1, LANES), [(LANES, LANES), (4, 1), (3, 2 + LANES)]
    outer, inner, rows = (numpy.zeros(shape, dtype="float32") for shape in shapes)
    chains.find_best(outer, outer, inner, rows)
    with pytest.raises(ValueError, match="expected"):
        chains.find_best(outer, outer, inner, rows[:2].copy())
    with pytest.raises(ValueError, match="expected"):
        chains.sum_forward(
            numpy.zeros((2, LANES)), numpy.zeros((4, 1)), numpy.zeros((3, 2 + LANES))
        )


def to_scores(scores, half):
    """RETURNS: Scores for the kernels, in an array of their own, and exactly those for torch."""
    if not half:
        return scores.clone().numpy(), scores.double()
    rounded = scores.bfloat16()
    return rounded.clone().view(torch.int16).numpy().view("uint16"), rounded.double()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("size", [1, 13, LANES, LANES + 1, 4 * LANES + 3, 1000])
def test_softmax_equals_torch(size, has_bias, half):
    torch.manual_seed(size)
    array, exact = to_scores(10 * torch.randn(9, size), half)
    bias = torch.randn(size) if has_bias else None
    biases = None if bias is None else bias.numpy()
    labels, grads = torch.randint(size, (9,)), torch.randn(9)
    log_probs, totals = numpy.empty((2, 9), dtype="float32")
    pick_log_probs(array, biases, labels.numpy(), log_probs, totals)
    exact.requires_grad_()
    expected = (exact if bias is None else exact + bias).log_softmax(1)[range(9), labels]
    numpy.testing.assert_allclose(log_probs, expected.detach(), rtol=1e-5, atol=1e-5)

    d_bias = None if bias is None else numpy.ones(size, dtype="float32")
    pick_log_probs_back(array, biases, labels.numpy(), totals, grads.numpy(), d_bias)
    (d_exact,) = torch.autograd.grad(expected @ grads.double(), exact)
    if d_bias is not None:
        numpy.testing.assert_allclose(d_bias, 1 + d_exact.sum(dim=0), atol=1e-5)
    found = torch.from_numpy(array)
    if half:
        # Rounded to the nearest: off by half of a unit in the last of eight places.
        found = torch.from_numpy(array.view("int16")).view(torch.bfloat16)
    tolerance = 2**-8 * 1.001 if half else 1e-5
    torch.testing.assert_close(found.double(), d_exact, rtol=tolerance, atol=1e-5)


@pytest.mark.parametrize("half", [False, True])
def test_softmax_of_extreme_scores(half):
    scores = torch.zeros(4, 2 * LANES + 1)
    scores[0, 3], scores[1, -1], scores[2, 0] = 1e30, torch.nan, -torch.inf
    scores[3] = -1e30
    array, _ = to_scores(scores, half)
    log_probs, totals = numpy.empty((2, 4), dtype="float32")
    labels = numpy.array([3, 0, 1, 5])
    pick_log_probs(array, None, labels, log_probs, totals)
    assert numpy.isnan(log_probs[1])
    # The last as -1e30 plus a logarithm is -1e30.
    numpy.testing.assert_allclose(log_probs[[0, 2, 3]], [0, -numpy.log(2 * LANES), 0], atol=1e-6)


def test_wrong_softmaxes_are_refused():
    scores, rows = numpy.zeros((2, 3), dtype="float32"), numpy.zeros(2, dtype="float32")
    labels = numpy.array([0, 2])
    pick_log_probs(scores, None, labels, rows, rows.copy())
    with pytest.raises(ValueError, match="No label 3"):
        pick_log_probs(scores, None, labels + 1, rows, rows)
    with pytest.raises(ValueError, match="1 labels"):
        pick_log_probs(scores, None, labels[:1], rows, rows)
    with pytest.raises(ValueError, match="2 biases"):
        pick_log_probs(scores, rows, labels, rows, rows)
    with pytest.raises(ValueError, match="for 2 rows"):
        pick_log_probs(scores, None, labels, rows[:1], rows)
    with pytest.raises(ValueError, match="gradient of 2"):
        pick_log_probs_back(scores, None, labels, rows, rows, rows)
