"""The compiled layers, on numpy arrays. See `modules/rnn/test_layers.py` for what they compute."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.kernels import HAS_BFLOAT16, HAS_INT8, INSTRUCTIONS

if INSTRUCTIONS is None:
    pytest.skip("the kernels were not built, or are turned off", allow_module_level=True)

from spacy_rnn.kernels._kernels import (
    CELLS,
    LANES,
    Layer,
    Sequences,
    find_distinct,
    pair_bf16,
    sum_rows,
)
from spacy_rnn.kernels.layout import from_kernel_rows, lay_out_layer, lay_out_linear, to_kernel_rows
from spacy_rnn.modules.linear import predict_linear
from spacy_rnn.modules.weights import Weights

GATES = {"lstm": 4, "lstm_peephole": 4, "lstm_coupled": 3, "gru": 3, "elman": 1, "irnn": 1}
ONE = Sequences(np.array([0]), np.array([4]))


def make(cell, units=5, nI=7):
    rng = np.random.default_rng(0)
    rows = GATES[cell] * units
    shapes = [(rows, nI), (rows, units), (rows,), (rows,)]
    shapes += [(3, units)] if cell == "lstm_peephole" else []
    arrays = [rng.uniform(-0.4, 0.4, shape).astype("float32") for shape in shapes]
    return lay_out_layer(cell, *arrays), arrays


def run(layer, X, sequences=ONE, **options):
    Y = np.zeros((len(X), layer.hidden), dtype="float32")
    layer.forward(sequences, False, Y, 0, X=X, **options)
    return Y


def test_all_cells_are_there():
    assert set(CELLS) == {"linear", *GATES}


@given(st.integers(1, 200), st.integers(1, 5 * LANES), st.integers(1, 40), st.integers(0, 9))
def test_linear_layers_equal_numpy_to_the_bit_in_any_batch(n, nO, nI, seed):
    rng = np.random.default_rng(seed)
    weight, bias, X = (rng.normal(size=shape).astype("f") for shape in ((nO, nI), (nO,), (n, nI)))
    run = partial(predict_linear, Weights({"W": weight, "b": bias}), "W", "b")
    Y = run(X)
    assert Y.shape == (n, nO)
    np.testing.assert_allclose(Y, X @ weight.T + bias, rtol=1e-5, atol=1e-5)
    for i in (0, n // 2, n - 1):
        assert (run(X[i : i + 1]) == Y[i]).all()
    assert run(X[:0]).shape == (0, nO)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="no instructions for bfloat16")
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("size", [1, 6, 33])
def test_bfloat16_rounds_factors_of_products_only(cell, size):
    """Weights and inputs are bfloat16 already: only the hidden state is rounded."""
    _, arrays = make(cell, nI=size)
    bits = [(a.view("uint32") & 0xFFFF0000).view("float32") for a in arrays[:2]]
    single = lay_out_layer(cell, *bits, *arrays[2:])
    half = lay_out_layer(cell, *bits, *arrays[2:], factors="bfloat16")
    X = np.ones((4, size), dtype="float32")
    first, second = run(single, X), run(half, X)
    np.testing.assert_allclose(first[0], second[0], rtol=1e-6, atol=1e-6)
    assert not (first == second).all()
    np.testing.assert_allclose(first, second, rtol=0.02, atol=0.02)


def quantize(rows):
    """By definition: what rows are divided by, and 8-bit integers."""
    scales = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
    with np.errstate(invalid="ignore"):
        return scales, np.nan_to_num(np.rint(rows / scales)).astype("int64")


@pytest.mark.skipif(not HAS_INT8, reason="no instructions for 8-bit integers")
@given(st.integers(1, 100), st.integers(1, 5 * LANES), st.integers(1, 70), st.integers(0, 9))
def test_8_bit_products_equal_the_definition_in_any_batch(n, nO, nI, seed):
    rng = np.random.default_rng(seed)
    weight, bias, X = (rng.normal(size=shape).astype("f") for shape in ((nO, nI), (nO,), (n, nI)))
    weight *= 10.0 ** rng.integers(-20, 4, (nO, 1)).astype("f")
    X *= 10.0 ** rng.integers(-20, 4, (n, 1)).astype("f")
    X[rng.random(n) < 0.1] = 0
    weight[rng.random(nO) < 0.1] = 0
    layer = lay_out_linear(weight, bias, "int8")
    Y = np.zeros((n, layer.width), dtype="float32")
    layer.project(X, Y)
    (x_scale, x_rows), (w_scale, w_rows) = quantize(X), quantize(weight)
    # The kernel multiplies by the inverse of a scale, which may round a number in the middle the
    # other way.
    off = np.abs(w_rows).max(axis=1) * (x_scale * w_scale.T) * 2
    expected = (x_rows @ w_rows.T) * (x_scale * w_scale.T) + bias
    assert (np.abs(Y[:, :nO] - expected) <= off + 1e-5 * np.abs(expected) + 1e-6).all()
    for i in (0, n // 2, n - 1):
        alone = np.zeros((1, layer.width), dtype="float32")
        layer.project(X[i : i + 1], alone)
        assert (alone == Y[i]).all()


@pytest.mark.skipif(not HAS_INT8, reason="no instructions for 8-bit integers")
def test_8_bit_weights_that_are_no_numbers_are_not_hidden():
    weight = np.ones((3, 5), dtype="float32")
    weight[1, 2] = np.nan
    layer = lay_out_linear(weight, np.zeros(3, dtype="float32"), "int8")
    Y = np.zeros((1, layer.width), dtype="float32")
    layer.project(np.ones((1, 5), dtype="float32"), Y)
    np.testing.assert_allclose(Y[0, [0, 2]], 5, rtol=1e-5)
    assert np.isnan(Y[0, 1])


@pytest.mark.skipif(not HAS_INT8, reason="no instructions for 8-bit integers")
def test_8_bit_layers_are_for_prediction_only():
    _, arrays = make("lstm")
    layer = lay_out_layer("lstm", *arrays, factors="int8")
    saved = np.zeros((4, layer.saved_width), dtype="float32")
    gates = np.zeros((4, layer.grads_width), dtype="float32")
    with pytest.raises(ValueError, match="for prediction only"):
        layer.backward(
            ONE, False, np.zeros((4, 5), "f"), 0, saved, np.zeros((1, 1, 4, LANES), "f"), gates
        )


def test_rounding_is_to_the_nearest_even():
    def bits(number):
        return np.array([number], dtype="uint32").view("float32")[0]

    numbers = {0x3F808000: 0x3F80, 0x3F818000: 0x3F82, 0x3F808001: 0x3F81, 0xFF800000: 0xFF80}
    rows = np.array([[[bits(number)] for number in numbers]], dtype="float32")
    pairs = pair_bf16(rows)[0, :, 0]
    assert [int(p) & 0xFFFF for p in pairs] == list(numbers.values())[::2]
    assert [int(p) >> 16 for p in pairs] == list(numbers.values())[1::2]
    odd = pair_bf16(np.full((1, 3, 2), np.nan, dtype="float32"))
    assert odd.shape == (1, 2, 2) and (odd[0, 1] >> 16 == 0).all()
    assert np.isnan((odd & 0xFFFF0000)[0, 0].view("float32")).all()


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("units", [5, LANES, 4 * LANES + 1])
def test_a_layer_stays_as_it_was_laid_out(cell, units):
    layer, arrays = make(cell, units)
    X = np.ones((4, 7), dtype="float32")
    before = run(layer, X)
    for array in arrays:
        array += 1.0
    assert (run(layer, X) == before).all()


@given(st.sampled_from([1, 3, 4]), st.integers(1, 4 * LANES + 1), st.integers(1, 4))
def test_rows_go_there_and_back(n_gates, units, size):
    weight = np.random.default_rng(0).normal(size=(n_gates * units, size)).astype("f")
    rows = to_kernel_rows(weight, units)
    assert (from_kernel_rows(rows, n_gates, units) == weight).all()


@pytest.mark.parametrize("cell", GATES)
def test_large_numbers_saturate_and_nan_stays_in_its_sequence(cell):
    layer, _ = make(cell)
    X = np.random.default_rng(0).normal(size=(12, 7)).astype("float32")
    X[0] *= 1e6
    X[5] = np.nan
    sequences = Sequences(np.array([0, 4, 8]), np.array([4, 4, 4]))
    Y = run(layer, X, sequences)
    assert np.isfinite(Y[:4]).all() and np.isfinite(Y[8:]).all()
    assert np.isfinite(Y[4]).all() and np.isnan(Y[5:8]).all()


def test_tokens_of_no_sequence_are_left_alone():
    layer, _ = make("gru")
    Y = run(layer, np.ones((9, 7), dtype="float32"), Sequences(np.array([5, 0]), np.array([3, 2])))
    assert (Y != 0).any(axis=1).tolist() == [
        True,
        True,
        False,
        False,
        False,
        True,
        True,
        True,
        False,
    ]


@given(st.lists(st.integers(0, 5), max_size=50), st.integers(1, 5))
def test_distinct_rows(numbers, width):
    # Different in the last column only.
    rows = np.ones((len(numbers), width), dtype="float32")
    rows[:, -1] = numbers
    index, first = find_distinct(rows)
    assert len(first) == len(set(numbers))
    assert np.array_equal(rows[first][index], rows)


@given(st.lists(st.integers(0, 5), max_size=9), st.integers(1, 40))
def test_rows_of_a_table_are_summed_by_group(sizes, width):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(7, width)).astype("float32")
    rows = rng.integers(0, 7, sum(sizes))
    ends = np.cumsum(sizes, dtype=np.int64)
    sums = sum_rows(table, rows, ends - np.array(sizes, dtype=np.int64))
    assert sums.shape == (len(sizes), width)
    for found, end, size in zip(sums, ends, sizes, strict=True):
        expected = table[rows[end - size : end]].sum(axis=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "rows, starts", [([0, 7], [0]), ([-1], [0]), ([1, 2], [0, 3]), ([1], [-1])]
)
def test_rows_and_groups_that_are_not_there_are_refused(rows, starts):
    table = np.zeros((7, 3), dtype="float32")
    with pytest.raises(IndexError, match="7"):
        sum_rows(table, np.array(rows), np.array(starts))


def test_wrong_arrays_are_refused():
    layer, _ = make("lstm")
    X, Y = np.zeros((4, 7), dtype="float32"), np.zeros((4, 5), dtype="float32")
    gates, index = np.zeros((2, layer.width), dtype="float32"), np.array([0, 1, 9, 0])
    beyond = Sequences(np.array([1]), np.array([4]))
    wrong = [
        ("expected", (ONE, False, Y, 1), {"X": X}),
        ("expected", (ONE, False, Y, 0), {"X": X[:3]}),
        ("expected", (ONE, False, Y, 0), {}),
        ("expected", (beyond, False, Y, 0), {"X": X}),
        ("expected", (ONE, False, Y, 0), {"X": X, "x_column": 1}),
        ("expected", (ONE, False, Y, 0), {"X": X, "saved": X}),
        ("No row 9", (ONE, False, Y, 0), {"gates": gates, "index": index}),
        (r"States of shape \(4, 7\) for 1", (ONE, False, Y, 0), {"X": X, "state": X}),
        ("one width", (ONE, False, Y, 0), {"X": X, "residual": True}),
        ("No column -1", (ONE, False, Y, 0), {"X": X, "x_column": -1}),
    ]
    layer.forward(ONE, False, Y, 0, X=X)
    for message, arguments, options in wrong:
        with pytest.raises(ValueError, match=message):
            layer.forward(*arguments, **options)
    with pytest.raises(ValueError, match="falling length"):
        Sequences(np.array([0, 1]), np.array([1, 3]))
    with pytest.raises(ValueError, match="expected"):
        ones = np.ones((1, 1, 4, 1), dtype="float32")
        Layer("lstm", 1, 5, ones, ones[0], ones)
    with pytest.raises(ValueError, match="No layer of 'lstn'"):
        Layer("lstn", 1, 5, X, X)
    linear = lay_out_linear(np.ones((5, 7), dtype="float32"), np.ones(5, dtype="float32"))
    with pytest.raises(ValueError, match="no steps"):
        linear.forward(ONE, False, Y, 0, X=X)


@pytest.mark.parametrize("name", ["avx512", "avx2", "base"])
def test_every_instruction_set_computes_the_same(name):
    if os.environ.get("SPACY_RNN_KERNELS"):
        pytest.skip("this is one of them")
    files = [__file__, Path(__file__).parents[1] / "modules" / "rnn" / "test_layers.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, files)]
    command += ["-k", "linear or saturate or widths"]
    environment = {**os.environ, "SPACY_RNN_KERNELS": name}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if "no such kernels" in run.stdout + run.stderr:
        pytest.skip(f"this processor has no {name}")
    assert run.returncode == 0, run.stdout
