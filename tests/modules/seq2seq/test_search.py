"""Beam search and attention against every string."""

import itertools

import numpy
import pytest

from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.modules.seq2seq.attention import Memory
from spacy_rnn.modules.seq2seq.search import read, search

from .conftest import ALPHABET, TAGS, WORDS, X, encode, get_arguments, make_module

LONGEST = 4
LIMITS = numpy.full(len(WORDS), LONGEST)


def get_all_strings(word):
    chars = sorted({*"ab", *word})
    for length in range(LONGEST + 1):
        yield from map("".join, itertools.product(chars, repeat=length))


def score_all(decoder, i):
    """The log-probability of every string for a word."""
    strings = list(get_all_strings(WORDS[i]))
    n = len(strings)
    words = [WORDS[i]] * n
    memory = encode(
        decoder, words, numpy.repeat(X[i : i + 1], n, 0), numpy.repeat(TAGS[i : i + 1], n, 0)
    )
    arguments = get_arguments(words, strings)
    lengths = arguments["target_lengths"]
    logs, _ = read(decoder, memory, arguments["inputs"], arguments["symbols"], lengths)
    sums = numpy.add.reduceat(logs.astype("f8"), numpy.cumsum(lengths) - lengths)
    return dict(zip(strings, sums.tolist(), strict=True))


def get_strings(found, i):
    return [ALPHABET.decode(row[: row.argmin()], WORDS[i]) for row in found.symbols[i]]


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize(
    "settings", [{}, {"attention": "additive", "cell": "gru"}, {"copy": False}]
)
def test_a_wide_beam_finds_the_best_of_every_string(make_decoder, length_penalty, settings):
    decoder = make_decoder(make_module(scale=1.5, **settings), **settings)
    options = {"length_penalty": length_penalty, "n_best": 3}
    found = search(decoder, encode(decoder), LIMITS, beam_width=4**LONGEST, **options)
    for i in range(len(WORDS)):
        everything = score_all(decoder, i)
        ranked = sorted(everything, key=lambda s: -everything[s] / (len(s) + 1) ** length_penalty)
        assert get_strings(found, i) == ranked[:3]
        expected = [everything[string] for string in ranked[:3]]
        numpy.testing.assert_allclose(found.logs[i], expected, rtol=1e-5, atol=1e-5)


def test_probabilities_add_up_to_one(make_decoder):
    """Of all strings: those that are longer have the rest, which is small here."""
    module = make_module()
    # The end is probable.
    module.output.bias.data[0] = 5.0
    module.output.bias.data[-1] = 5.0
    decoder = make_decoder(module)
    for i in range(len(WORDS)):
        total = numpy.exp(list(score_all(decoder, i).values())).sum()
        assert 0.99 < total <= 1.0 + 1e-5


@pytest.mark.parametrize("beam_width", [1, 3])
@pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if cell.kernel])
def test_strings_do_not_depend_on_the_batch(make_decoder, beam_width, cell):
    decoder = make_decoder(make_module(scale=1.0, cell=cell), cell=cell)
    options = {"beam_width": beam_width, "n_best": 2}
    # A long word makes all others longer by padding.
    words = [*WORDS, "ab" * 30]
    x, tags = numpy.concatenate([X, X[:1]]), numpy.concatenate([TAGS, TAGS[:1]])
    limits = numpy.array([6, 4, 0, 5, 7, 9])
    whole = search(decoder, encode(decoder, words, x, tags), limits, **options)
    for i, word in enumerate(words):
        memory = encode(decoder, [word], x[i : i + 1], tags[i : i + 1])
        alone = search(decoder, memory, limits[i : i + 1], **options)
        size = alone.symbols.shape[2]
        assert numpy.array_equal(alone.symbols[0], whole.symbols[i, :, :size])
        numpy.testing.assert_allclose(alone.logs[0], whole.logs[i], rtol=1e-5, atol=1e-5)
        if not isinstance(memory, Memory):
            assert numpy.array_equal(alone.logs[0], whole.logs[i])


def test_limits_hold(make_decoder):
    module = make_module()
    # The end is not probable.
    module.output.bias.data[0] = -20.0
    module.output.bias.data[-1] = 20.0
    decoder = make_decoder(module)
    limits = numpy.array([3, 0, 5, 1, 2])
    found = search(decoder, encode(decoder), limits, beam_width=2)
    assert ((found.symbols[:, 0] != 0).sum(axis=1) <= limits).all()
    assert numpy.isfinite(found.logs).all()


def test_the_unknown_symbol_is_never_written(make_decoder):
    module = make_module()
    module.output.bias.data[1] = 50.0
    decoder = make_decoder(module)
    found = search(decoder, encode(decoder), LIMITS, beam_width=5, n_best=5)
    assert (found.symbols != 1).all()


def test_attention_weights_add_up_to_one(make_decoder):
    decoder = make_decoder(make_module())
    arguments = get_arguments(WORDS, ["ab"] * len(WORDS))
    lengths = arguments["target_lengths"]
    memory = encode(decoder)
    _, weights = read(decoder, memory, arguments["inputs"], arguments["symbols"], lengths)
    sizes = numpy.array(arguments["lengths"])
    for step in weights:
        numpy.testing.assert_allclose(step.sum(axis=1), 1, rtol=1e-5)
        for row, size in zip(step, sizes, strict=True):
            assert (row[size:] == 0).all()
            assert (row[:size] > 0).all()
