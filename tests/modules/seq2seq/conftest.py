import numpy
import pytest
import torch

from spacy_rnn.kernels import INSTRUCTIONS
from spacy_rnn.modules.seq2seq.alphabet import Alphabet
from spacy_rnn.modules.seq2seq.module import Seq2Seq
from spacy_rnn.modules.seq2seq.torch_decoder import TorchDecoder
from spacy_rnn.modules.weights import Weights

ALPHABET = Alphabet("ab")
SETTINGS = {
    "nI": 3,
    "n_chars": len(ALPHABET),
    "n_tags": 2,
    "width": 6,
    "char_width": 4,
    "depth": 1,
    "cell": "lstm",
    "attention": "general",
    "copy": True,
    "context_bits": 2,
}
# "é" and "x" are not in the alphabet.
WORDS = ["ab", "é", "", "bxéx", "aaabab"]
RANDOM = numpy.random.default_rng(0)
X = RANDOM.standard_normal((len(WORDS), 3), dtype="f")
TAGS = numpy.eye(2, dtype="f")[[0, 1, 0, 1, 1]]


def make_module(seed=0, scale=0.5, **settings):
    torch.manual_seed(seed)
    module = Seq2Seq(**{**SETTINGS, **settings})
    with torch.no_grad():
        for param in module.parameters():
            param.uniform_(-scale, scale)
    return module


def get_arguments(words, targets, alphabet=ALPHABET):
    """The arguments of the module but the vectors and tags, as arrays."""
    sources = alphabet.encode(words)
    strings = alphabet.encode_targets(words, targets)
    return {
        "chars": sources.chars,
        "copied": sources.copied,
        "lengths": sources.lengths,
        "inputs": strings.inputs,
        "symbols": strings.symbols,
        "target_lengths": strings.lengths,
    }


def to_tensors(arguments):
    return {
        key: torch.from_numpy(value) if isinstance(value, numpy.ndarray) else value
        for key, value in arguments.items()
    }


def run_module(module, words, targets, x=X, tags=TAGS, **options):
    arguments = to_tensors({"tags": tags, **get_arguments(words, targets)})
    return module(torch.from_numpy(x), **arguments, **options)


def encode(decoder, words=WORDS, x=X, tags=TAGS):
    """The memory of a decoder."""
    sources = ALPHABET.encode(words)
    codes = decoder.get_codes(x)
    return decoder.encode(codes, tags, sources.chars, sources.copied, sources.lengths)


@pytest.fixture(params=["arrays", "torch"])
def make_decoder(request):
    """Makes a decoder of a module, in each form."""
    if request.param == "arrays" and INSTRUCTIONS is None:
        pytest.skip("there are no compiled kernels")

    def make(module, **settings):
        if request.param == "torch":
            return TorchDecoder(module)
        from spacy_rnn.modules.seq2seq.predict import ArrayDecoder

        return ArrayDecoder(Weights(dict(module.named_parameters())), {**SETTINGS, **settings})

    return make
