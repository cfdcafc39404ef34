"""The torch module against its definition."""

import numpy
import pytest
import torch

from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.modules.seq2seq.alphabet import N_SPECIAL, UNKNOWN

from .conftest import (
    ALPHABET,
    SETTINGS,
    TAGS,
    WORDS,
    X,
    get_arguments,
    make_module,
    run_module,
    to_tensors,
)

TARGETS = ["b", "éa", "ab", "xéb", ""]
KINDS = ["dot", "general", "additive"]


def sigmoid(x):
    return 1 / (1 + numpy.exp(-x))


def softmax(x):
    powers = numpy.exp(x - x.max())
    return powers / powers.sum()


def read_by_definition(module, word, target, x, tags):
    """The log-probability of each symbol: one word, one step and one number at a time."""
    p = {name: value.detach().numpy().astype("f8") for name, value in module.named_parameters()}

    def linear(name, value):
        return p[f"{name}.weight"] @ value + p.get(f"{name}.bias", 0.0)

    def run_cell(prefix, suffix, value, state):
        """An LSTM's step."""
        gates = sum(
            p[f"{prefix}weight_{kind}_l0{suffix}"] @ part + p[f"{prefix}bias_{kind}_l0{suffix}"]
            for kind, part in (("ih", value), ("hh", state[0]))
        )
        i, f, g, o = numpy.split(gates, 4)
        c = sigmoid(f) * state[1] + sigmoid(i) * numpy.tanh(g)
        return sigmoid(o) * numpy.tanh(c), c

    sources, strings = ALPHABET.encode([word]), ALPHABET.encode_targets([word], [target])
    chars = p["chars.weight"]
    half = module.width // 2
    halves = []
    for suffix in ("", "_reverse"):
        order = sources.chars[::-1] if suffix else sources.chars
        state, states = (numpy.zeros(half), numpy.zeros(half)), []
        for symbol in order:
            state = run_cell("encoder.layers.0.", suffix, chars[symbol], state)
            states.append(state[0])
        halves.append(states[::-1] if suffix else states)
    values = numpy.concatenate(halves, axis=1)
    last = numpy.concatenate([halves[0][-1], halves[1][0]])
    code = numpy.where(linear("context", x) > 0, 1.0, -1.0)
    condition = linear("condition", numpy.concatenate([code, tags]))
    first = numpy.tanh(linear("first", numpy.concatenate([last, condition])))
    state, logs = tuple(numpy.split(first, 2)), []
    for read, written in zip(strings.inputs, strings.symbols, strict=True):
        state = run_cell("decoder.", "", numpy.concatenate([chars[read], condition]), state)
        h = state[0]
        if module.attention.kind == "additive":
            scores = [
                linear("attention.score", numpy.tanh(linear("attention.query", h) + key))[0]
                for key in (linear("attention.key", value) for value in values)
            ]
        elif module.attention.kind == "general":
            scores = [h @ linear("attention.key", value) for value in values]
        else:
            scores = [h @ value for value in values]
        attention = softmax(numpy.array(scores))
        mixed = numpy.tanh(linear("mix", numpy.concatenate([h, attention @ values])))
        outputs = linear("output", mixed)
        own = outputs[: module.n_chars].copy()
        own[UNKNOWN] = -numpy.inf
        probs = numpy.concatenate([softmax(own), numpy.zeros(len(values))])
        if module.copy:
            gate = sigmoid(outputs[-1])
            probs *= gate
            for symbol, weight in zip(sources.copied, attention, strict=True):
                probs[symbol] += (1 - gate) * weight
        assert probs.sum() == pytest.approx(1)
        logs.append(numpy.log(max(probs[written], 1e-30)))
    return logs


@pytest.mark.parametrize("attention", KINDS)
@pytest.mark.parametrize("copy", [True, False])
def test_log_probabilities_are_those_of_the_definition(attention, copy):
    settings = {"attention": attention, "copy": copy}
    module = make_module(**settings)
    targets = TARGETS if copy else ["b", "a", "ab", "", "bb"]
    found = run_module(module, WORDS, targets).detach().numpy()
    expected = [
        log
        for word, target, x, tags in zip(WORDS, targets, X, TAGS, strict=True)
        for log in read_by_definition(module, word, target, x, tags)
    ]
    numpy.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_teacher_forcing_equals_a_loop_over_steps(cell):
    module = make_module(cell=cell)
    found = run_module(module, WORDS, TARGETS).detach().numpy()
    arguments = to_tensors(get_arguments(WORDS, TARGETS))
    codes = module.get_codes(torch.from_numpy(X))
    sources = [arguments[key] for key in ("chars", "copied", "lengths")]
    memory = module.encode(codes, torch.from_numpy(TAGS), *sources)
    strings = ALPHABET.encode_targets(WORDS, TARGETS)
    expected, end = [], 0
    for i, length in enumerate(strings.lengths):
        begin, end = end, end + length
        own, state = memory.select(numpy.array([i])), memory.state[i : i + 1]
        for read, written in zip(
            strings.inputs[begin:end], strings.symbols[begin:end], strict=True
        ):
            logs, _, state = module.step(own, torch.tensor([[read]]), state)
            expected.append(logs[0, 0, written].item())
    numpy.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attention", KINDS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "lstm_peephole"])
def test_gradients_in_double_precision(attention, cell):
    module = make_module(attention=attention, cell=cell).double()
    params = dict(module.named_parameters())
    arguments = get_arguments(WORDS, TARGETS)
    x = torch.from_numpy(X).double()

    def compute(*values):
        own = dict(zip(params, values, strict=True))
        keywords = to_tensors({"tags": TAGS.astype("f8"), **arguments})
        keywords |= {"smoothing": 0.1, "is_train": True}
        return torch.func.functional_call(module, own, (x,), keywords)

    # Rounding to bits has a gradient that is not its derivative.
    names = [name for name in params if not name.startswith("context")]
    fixed = {name: params[name].detach() for name in params if name not in names}

    def compute_smooth(*values):
        own = dict(zip(names, values, strict=True))
        return compute(*(own.get(name, fixed.get(name)) for name in params))

    values = tuple(params[name] for name in names)
    assert torch.autograd.gradcheck(compute_smooth, values, fast_mode=True)


def test_codes_pass_the_gradient_of_tanh():
    module = make_module()
    x = torch.from_numpy(X).requires_grad_()
    codes = module.get_codes(x)
    assert torch.allclose(codes.abs(), torch.ones_like(codes))
    assert len(set(codes.sign().flatten().tolist())) == 2
    (found,) = torch.autograd.grad(codes.sum(), x)
    other = torch.from_numpy(X).requires_grad_()
    (expected,) = torch.autograd.grad(module.context(other).tanh().sum(), other)
    assert torch.allclose(found, expected)


def test_a_tag_that_was_not_trained_changes_nothing():
    torch.manual_seed(0)
    module = type(make_module())(**SETTINGS)
    none = run_module(module, WORDS, TARGETS, tags=numpy.zeros_like(TAGS))
    assert torch.equal(run_module(module, WORDS, TARGETS), none)


def test_label_smoothing_is_a_share_of_the_mean_over_the_alphabet():
    module = make_module(copy=False)
    targets = ["b", "a", "ab", "", "bb"]
    plain = run_module(module, WORDS, targets)
    # END and the characters, not UNKNOWN. The inputs are the same whatever is to be written.
    arguments = to_tensors({"tags": TAGS, **get_arguments(WORDS, targets)})
    everything = [
        module(torch.from_numpy(X), **{**arguments, "symbols": torch.full_like(plain, s).long()})
        for s in (0, *range(N_SPECIAL, SETTINGS["n_chars"]))
    ]
    expected = 0.8 * plain + 0.2 * torch.stack(everything).mean(dim=0)
    found = run_module(module, WORDS, targets, smoothing=0.2)
    assert torch.allclose(found, expected, atol=1e-6)


def test_scheduled_sampling_reads_what_the_decoder_wrote():
    module = make_module()
    targets = ["ab"] * len(WORDS)
    with torch.no_grad():
        plain = run_module(module, WORDS, targets)
        always = run_module(module, WORDS, targets, sampling=1.0)
    first = numpy.arange(len(WORDS)) * 3
    assert torch.equal(plain[first], always[first])
    # With all inputs replaced, the targets change nothing but what is asked for.
    arguments = to_tensors({"tags": TAGS, **get_arguments(WORDS, targets)})
    with torch.no_grad():
        memory = module.encode(
            module.get_codes(torch.from_numpy(X)),
            *(arguments[key] for key in ("tags", "chars", "copied", "lengths")),
        )
        logs, _, state = module.step(memory, torch.zeros(len(WORDS), 1).long(), memory.state)
        best = logs.argmax(dim=2)
        logs, *_ = module.step(memory, best, state)
    second = logs[:, 0].gather(1, arguments["symbols"].view(-1, 3)[:, 1:2])
    assert torch.allclose(always[first + 1], second[:, 0], atol=1e-5)
