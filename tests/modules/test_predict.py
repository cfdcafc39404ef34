"""Every function that predicts on arrays equals its torch module."""

import numpy
import pytest
import torch

from spacy_rnn.kernels import INSTRUCTIONS
from spacy_rnn.modules import networks
from spacy_rnn.modules.embed.sizes import CHAR_ROWS
from spacy_rnn.modules.networks import Network
from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.modules.seq2seq.alphabet import Alphabet
from spacy_rnn.modules.weights import Weights

pytestmark = pytest.mark.skipif(INSTRUCTIONS is None, reason="there are no compiled kernels")

# Empty sequences first, in the middle and last.
LENGTHS = [0, 4, 1, 0, 9, 3, 0]
RANDOM = numpy.random.default_rng(0)


def make_rows(lengths, width):
    # Some repeat, as the embeddings of words do.
    rows = RANDOM.standard_normal((6, width), dtype="f")
    return rows[RANDOM.integers(0, 6, sum(lengths))]


def cut(lengths, begin, end):
    """The slices of rows and of sequences."""
    return slice(sum(lengths[:begin]), sum(lengths[:end])), slice(begin, end)


def make_sequences(width, **options):
    """The arguments for all sequences, and for some of them."""
    X = make_rows(LENGTHS, width)

    def get(begin, end):
        rows, sequences = cut(LENGTHS, begin, end)
        return [X[rows], LENGTHS[sequences]], options

    return get


def make_lexemes(n_vectors=0, n_affixes=2):
    n, n_ngrams = len(LENGTHS), numpy.array(LENGTHS)
    arrays = {
        "attrs": RANDOM.integers(0, 20, (2, n, 4)),
        "affixes": RANDOM.integers(0, 20, (n, n_affixes, 4)),
        "words": numpy.arange(2 * n).reshape(n, 2),
    }
    ngrams = RANDOM.integers(0, 20, n_ngrams.sum())
    vectors = RANDOM.standard_normal((n, n_vectors), dtype="f")

    def get(begin, end):
        rows, lexemes = cut(LENGTHS, begin, end)
        part = {
            name: a[:, lexemes] if name == "attrs" else a[lexemes] for name, a in arrays.items()
        }
        sizes = n_ngrams[lexemes]
        part |= {"ngrams": ngrams[rows], "ngram_starts": numpy.cumsum(sizes) - sizes}
        if n_vectors:
            part["vectors"] = vectors[lexemes]
        part |= {"lexemes": numpy.arange(len(sizes)), "masked": numpy.zeros(0, dtype=numpy.int64)}
        # Each lexeme twice.
        return [], {**part, "tokens": numpy.repeat(numpy.arange(len(sizes)), 2)}

    return get


def make_chars():
    words = [RANDOM.integers(1, CHAR_ROWS, length) for length in LENGTHS]

    def get(begin, end):
        part = words[begin:end]
        # As wide as the longest word of the part.
        chars = numpy.zeros((len(part), max(map(len, part))), dtype=numpy.int64)
        for row, word in zip(chars, part, strict=True):
            row[: len(word)] = word
        return [], {"chars": chars, "tokens": numpy.repeat(numpy.arange(len(part)), 2)}

    return get


def make_states(n_words, *, tied=False):
    H = RANDOM.standard_normal((sum(LENGTHS), 16), dtype="f")
    words = numpy.concatenate([[0, n_words - 1], RANDOM.integers(0, n_words, len(H) - 2)])
    table = [RANDOM.standard_normal((n_words, 16), dtype="f")] if tied else []

    def get(begin, end):
        rows, _ = cut(LENGTHS, begin, end)
        return [H[rows], words[rows], *table], {}

    return get


def make_strings():
    words = ["".join(RANDOM.choice([*"abcé"], length)) for length in LENGTHS]
    targets = [word[::-1] + "a" for word in words]
    X = RANDOM.standard_normal((len(words), 5), dtype="f")
    tags = RANDOM.integers(0, 2, (len(words), 3)).astype("f")
    alphabet = Alphabet("abc")

    def get(begin, end):
        part = slice(begin, end)
        sources = alphabet.encode(words[part])
        strings = alphabet.encode_targets(words[part], targets[part])
        return [X[part]], {
            "tags": tags[part],
            "chars": sources.chars,
            "copied": sources.copied,
            "lengths": sources.lengths,
            "inputs": strings.inputs,
            "symbols": strings.symbols,
            "target_lengths": strings.lengths,
        }

    return get


ENCODER = {
    "nI": 6,
    "nO": 8,
    "depth": 2,
    "cell": "lstm",
    "bidirectional": True,
    "residual": False,
    "layer_norm": False,
}
LM = {
    "width": 6,
    "hidden": None,
    "depth": 2,
    "cell": "lstm",
    "directions": "both",
    "residual": True,
}
ATTENTION = {
    "nI": 6,
    "nO": 8,
    "depth": 2,
    "heads": 2,
    "hidden_width": 12,
    "positions": "rotary",
    "window": 16,
}
CHARS = {"width": 6, "char_width": 4, "filters": [[1, 3], [3, 20], [5, 4]], "highway_layers": 2}
LEXEMES = {
    "width": 6,
    "rows": [20, 20],
    "attr_widths": [8, 4],
    "n_affixes": 2,
    "affix_rows": 20,
    "affix_width": 3,
    "ngram_rows": 20,
    "ngram_width": 5,
    "maxout_pieces": 2,
}
POOLING = {"nI": 8, "kinds": ["last"], "bidirectional": True, "attention_heads": 2}
ADAPTIVE = {"width": 16, "n_words": 150, "cutoffs": [20, 80]}
SEQ2SEQ = {
    "nI": 5,
    "n_chars": 5,
    "n_tags": 3,
    "width": 16,
    "char_width": 6,
    "depth": 1,
    "cell": "lstm",
    "attention": "general",
    "copy": True,
    "context_bits": 3,
}

COMPILED = sorted(name for name, cell in CELLS.items() if cell.kernel)
# The name of a network, its settings, and what makes its arguments.
ROWS = [
    *(("ENCODER", {**ENCODER, "cell": cell}, make_sequences(6)) for cell in COMPILED),
    ("ENCODER", {**ENCODER, "bidirectional": False, "nO": 6}, make_sequences(6)),
    ("ENCODER", {**ENCODER, "residual": True, "layer_norm": True}, make_sequences(6)),
    *(("LM_STACK", {**LM, "cell": cell}, make_sequences(6)) for cell in COMPILED),
    ("LM_STACK", {**LM, "hidden": 9}, make_sequences(6)),
    ("LM_STACK", {**LM, "residual": False, "depth": 3}, make_sequences(6)),
    ("LM_STACK", {**LM, "directions": "forward"}, make_sequences(6)),
    ("SELF_ATTENTION", ATTENTION, make_sequences(6)),
    ("SELF_ATTENTION", {**ATTENTION, "positions": "sinusoidal"}, make_sequences(6)),
    *(("SELF_ATTENTION", {**ATTENTION, "window": n}, make_sequences(6)) for n in (1, 2, 3, 4)),
    ("LEXEME_EMBEDDING", LEXEMES, make_lexemes()),
    ("LEXEME_EMBEDDING", {**LEXEMES, "width": None}, make_lexemes()),
    ("LEXEME_EMBEDDING", {**LEXEMES, "ngram_rows": 0}, make_lexemes()),
    ("LEXEME_EMBEDDING", {**LEXEMES, "n_affixes": 0}, make_lexemes(n_affixes=0)),
    ("LEXEME_EMBEDDING", {**LEXEMES, "vectors_width": 5}, make_lexemes(n_vectors=5)),
    ("CHAR_CNN", CHARS, make_chars()),
    ("CHAR_CNN", {**CHARS, "highway_layers": 0}, make_chars()),
    ("POOLING", POOLING, make_sequences(8)),
    ("POOLING", {**POOLING, "bidirectional": False}, make_sequences(8)),
    ("POOLING", {**POOLING, "kinds": ["mean", "max", "attention"]}, make_sequences(8)),
    ("POOLING", {**POOLING, "kinds": ["attention"]}, make_sequences(8, attend=True)),
    ("ADAPTIVE_SOFTMAX", ADAPTIVE, make_states(150)),
    ("TIED_SOFTMAX", {"n_words": 150}, make_states(150, tied=True)),
    *(("SEQ2SEQ", {**SEQ2SEQ, "cell": cell}, make_strings()) for cell in COMPILED),
    ("SEQ2SEQ", {**SEQ2SEQ, "attention": "dot", "context_bits": 0}, make_strings()),
    ("SEQ2SEQ", {**SEQ2SEQ, "attention": "additive", "depth": 2}, make_strings()),
    ("SEQ2SEQ", {**SEQ2SEQ, "copy": False, "width": 6}, make_strings()),
]


def make_network(name, settings):
    """A network's torch module with random weights, and its function on arrays."""
    network = getattr(networks, name)
    torch.manual_seed(0)
    module = network.get_module_class()(**settings)
    with torch.no_grad():
        for param in module.parameters():
            if param.is_floating_point():
                param.uniform_(-0.5, 0.5)
            else:
                param[: len(LENGTHS)] = True  # The filter of known words
    predict = network.choose_predict("cpu", settings)
    weights = Weights(dict(module.named_parameters()))

    def run(args, kwargs):
        return predict(weights, settings, *args, int8=False, **kwargs)

    return module, run


@pytest.mark.parametrize("name, settings, get_arguments", ROWS)
def test_prediction_equals_the_module_in_any_batch(name, settings, get_arguments):
    module, run = make_network(name, settings)
    args, kwargs = get_arguments(0, len(LENGTHS))
    found = run(args, kwargs)

    def convert(value):
        return torch.from_numpy(value) if isinstance(value, numpy.ndarray) else value

    with torch.inference_mode():
        expected = module(*map(convert, args), **{k: convert(v) for k, v in kwargs.items()}).numpy()
    assert found.dtype == numpy.float32
    assert found.shape == expected.shape
    assert (abs(found - expected) <= 1e-5 * numpy.maximum(1, abs(expected))).all()
    parts = [run(*get_arguments(*part)) for part in [(0, 2), (2, 3), (3, 5), (5, 7)]]
    assert numpy.array_equal(numpy.concatenate(parts), found)


def test_every_function_is_tested():
    having = {
        name
        for name, network in vars(networks).items()
        if isinstance(network, Network) and network.predict
    }
    assert having == {name for name, _, _ in ROWS}


@pytest.mark.parametrize(
    "name, limit",
    [
        ("CHAR_CNN", "embed.predict_chars.MAX_WINDOWS"),
        ("ADAPTIVE_SOFTMAX", "lm.predict_softmax.MAX_SCORES"),
        ("TIED_SOFTMAX", "lm.predict_softmax.MAX_SCORES"),
    ],
)
def test_dividing_to_bound_memory_changes_nothing(name, limit, monkeypatch):
    _, settings, get_arguments = next(row for row in ROWS if row[0] == name)
    _, run = make_network(name, settings)
    expected = run(*get_arguments(0, len(LENGTHS)))
    monkeypatch.setattr(f"spacy_rnn.modules.{limit}", 1)
    assert numpy.array_equal(run(*get_arguments(0, len(LENGTHS))), expected)


def test_another_table_of_embeddings_is_laid_out():
    module, run = make_network("TIED_SOFTMAX", {"n_words": 150})
    for _ in range(2):
        args, _ = make_states(150, tied=True)(0, len(LENGTHS))
        expected = module(*map(torch.from_numpy, args)).detach().numpy()
        numpy.testing.assert_allclose(run(args, {}), expected, rtol=1e-5, atol=1e-5)


def test_a_tensor_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"no tensor 'boundary'"):
        Weights({"norm.weight": numpy.zeros(2, dtype="f")})["boundary"]
