"""The compiled kernels on linear chains compute what numpy computes."""

import os
import subprocess
import sys

import numpy
import pytest

from spacy_rnn.kernels import INSTRUCTIONS
from spacy_rnn.modules.crf import chain as crf
from spacy_rnn.modules.crf.transitions import Transitions
from spacy_rnn.modules.crf.viterbi import find_best
from spacy_rnn.modules.step_major import StepMajor

if INSTRUCTIONS is None:
    pytest.skip("the kernels were not built, or are turned off", allow_module_level=True)

from spacy_rnn.kernels._kernels import find_best_tags, sum_backward, sum_forward


@pytest.mark.parametrize("n_labels", [1, 6, 31, 32, 130])
@pytest.mark.parametrize("lengths", [[3, 0, 17, 17, 1], [40], [1], []])
def test_chains_equal_numpy(n_labels, lengths, monkeypatch):
    rng = numpy.random.default_rng(n_labels)
    monkeypatch.setattr(crf, "MAX_COMPILED", 10**9)
    layout = StepMajor.from_lengths(lengths)
    size, outside = 1 + 2 * n_labels, 2 * n_labels
    # Not contiguous, which kernels need
    scores = rng.normal(size=(1 + 4 * n_labels, sum(lengths))).astype("f").T
    outer = rng.normal(size=(size, size)).astype("f")
    inner = rng.normal(size=(2, n_labels, 2)).astype("f").transpose(0, 2, 1)
    allowed = rng.random(scores.shape) < 0.7
    allowed[:, outside] = True
    scores[~allowed] = -numpy.inf
    # From anywhere to O
    outer[(rng.random((size, size)) < 0.3) & (numpy.arange(size) != n_labels)] = -numpy.inf
    inner[rng.random(inner.shape) < 0.3] = -numpy.inf
    transitions = Transitions(outer, inner)
    before = scores.copy()
    results = []
    for instructions in (INSTRUCTIONS, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("spacy_rnn.kernels.INSTRUCTIONS", instructions)
            chain = crf.Chain.from_scores(scores, transitions, layout)
            sums = (chain.forward_sums, chain.backward_sums, chain.scales, chain.log_sums)
            results.append((find_best(scores, transitions, layout), *sums))
    for ours, numpys in zip(*results, strict=True):
        numpy.testing.assert_allclose(ours, numpys, rtol=1e-12, atol=1e-12)
    numpy.testing.assert_array_equal(scores, before)


def test_wrong_chains_are_refused():
    def make(dtype, rows=3, size=7):
        shapes = (size, size), (2, 2, 3), (rows, 13)
        return tuple(numpy.zeros(shape, dtype) for shape in shapes)

    starts = numpy.array([0, 2, 3])
    find_best_tags(starts, *make("f"))
    for wrong in ([0, 1, 3], [0, 2, 2], [1, 2], []):
        with pytest.raises(ValueError, match="time step"):
            find_best_tags(numpy.array(wrong, dtype="int64"), *make("f"))
    for changes in ({"rows": 2}, {"size": 8}):
        with pytest.raises(ValueError, match="expected"):
            find_best_tags(starts, *make("f", **changes))
        with pytest.raises(ValueError, match="expected"):
            sum_forward(starts, *make("d", **changes))
        with pytest.raises(ValueError, match="expected"):
            sum_backward(starts, *make("d", **changes), numpy.zeros((3, 13)))


@pytest.mark.parametrize("name", ["avx512", "avx2", "base"])
def test_every_instruction_set_equals_numpy(name):
    command = [sys.executable, "-m", "pytest", "-q", f"{__file__}::test_chains_equal_numpy"]
    environment = {**os.environ, "SPACY_RNN_KERNELS": name}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if "no such kernels" in run.stdout + run.stderr:
        pytest.skip(f"this processor has no {name}")
    assert run.returncode == 0 and "20 passed" in run.stdout, run.stdout
