"""With hundreds of labels, the entity recogniser took 15 times as long as spaCy's to train, as it
added up transitions between all pairs of tags, legal or not; and each label that was added to a
text classifier made the weights of its linear model, which are large, again.
"""

import time
import tracemalloc
from contextlib import contextmanager
from itertools import product

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import fix_random_seed

from spacy_rnn.modules.crf.span_crf import SpanCRF
from spacy_rnn.modules.crf.tagging_scheme import BEGIN, INSIDE, LAST, UNIT, TaggingScheme
from spacy_rnn.pipeline import rnn_ner


@contextmanager
def measure_memory(result):
    """Append the most memory that arrays took at a time, in bytes."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    yield
    result.append(tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()


def make_case(n_labels, lengths, scale=1.0):
    """A batch with everything allowed, and one sequence of tags that is right."""
    rng = np.random.default_rng(n_labels)
    scheme = TaggingScheme("biluo", n_labels)
    n = scheme.n_learned
    shapes = ((sum(lengths), n), (n, n), (n,), (n,))
    scores = [rng.normal(0, scale, shape) for shape in shapes]
    allowed = np.ones((sum(lengths), scheme.n_tags), dtype=bool)
    gold = np.zeros_like(allowed)
    gold[:, scheme.get_tag(n_labels - 1, UNIT)] = True
    return scheme, scores, allowed, gold


def make_crf(scheme, scores, lengths):
    emissions, transitions, start, end = scores
    return SpanCRF(scheme, emissions, scheme.select_legal(transitions), start, end, lengths)


def get_gradients(scheme, scores, lengths, allowed, agreeing):
    losses, backprop = make_crf(scheme, scores, lengths).get_losses(allowed, agreeing)
    emissions, transitions, start, end = backprop(np.ones(len(losses)))
    return losses, (emissions, scheme.add_legal(transitions), start, end)


def get_matrix(scheme, transitions):
    """The scores of all tags after all others, minus infinity where that is not legal."""
    learned, labels = scheme.get_learned().tolist(), range(scheme.n_labels)
    legal = torch.zeros(scheme.n_tags, scheme.n_tags, dtype=torch.bool)
    ends, begins = (
        [scheme.outside, *(scheme.get_tag(i, part) for i in labels for part in (UNIT, other))]
        for other in (LAST, BEGIN)
    )
    legal[torch.tensor(ends).unsqueeze(1), torch.tensor(begins)] = True
    for i, before, after in product(labels, (BEGIN, INSIDE), (INSIDE, LAST)):
        legal[scheme.get_tag(i, before), scheme.get_tag(i, after)] = True
    return transitions[learned][:, learned].masked_fill(~legal, -torch.inf)


def sum_all_pairs(scheme, scores, length, allowed):
    """The logarithm of the sum over all tags of sequences of one length, by whole matrices."""
    emissions, transitions, start, end = scores
    learned = scheme.get_learned().tolist()
    inside, opening = (
        torch.tensor(scheme.get_parts(*parts)) for parts in ((INSIDE, LAST), (BEGIN, INSIDE))
    )
    weights = emissions[:, learned].masked_fill(~torch.from_numpy(allowed), -torch.inf).exp()
    weights = weights.view(-1, length, scheme.n_tags)
    factors = get_matrix(scheme, transitions).exp()
    sums = start[learned].masked_fill(inside, -torch.inf).exp()
    sums = weights[:, 0] * sums
    for i in range(1, length):
        sums = (sums @ factors) * weights[:, i]
    last = end[learned].masked_fill(opening, -torch.inf).exp()
    return (sums @ last).log()


@pytest.mark.parametrize("n_labels", [1, 30])
@pytest.mark.parametrize("n_unknown", [0, 7])
def test_losses_and_gradients_are_those_of_all_pairs(n_labels, n_unknown):
    lengths = [6, 6, 6]
    scheme, scores, allowed, gold = make_case(n_labels, lengths)
    gold[:n_unknown] = True
    losses, gradients = get_gradients(scheme, scores, lengths, allowed, gold)
    leaves = [torch.tensor(values, requires_grad=True) for values in scores]
    everything, agreed = (sum_all_pairs(scheme, leaves, 6, mask) for mask in (allowed, gold))
    np.testing.assert_allclose(losses, (everything - agreed).detach())
    for ours, theirs in zip(
        gradients, torch.autograd.grad((everything - agreed).sum(), leaves), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("n_labels", [100, 300])
@pytest.mark.parametrize("decoding", ["viterbi", "posterior"])
def test_there_is_no_number_for_each_pair_of_tags(n_labels, decoding):
    fix_random_seed(0)
    nlp = spacy.blank("xx")
    pipe = nlp.add_pipe("rnn_ner", config={"decoding": decoding, "threshold": 0.01})
    doc = Doc(nlp.vocab, words=["Lena", "met", "Tomas", "Brandt"])
    reference = doc.copy()
    reference.ents = [Span(reference, 0, 1, "A0"), Span(reference, 2, 4, "A0")]
    for i in range(n_labels):
        pipe.add_label(f"A{i}")
    sgd = nlp.initialize(lambda: [Example(doc, reference)])
    for _ in range(30):
        nlp.update([Example(doc, reference)], sgd=sgd)
    n_pairs = pipe.scheme.n_tags**2
    scores, _ = pipe.model.begin_update([doc])
    peaks = []
    # What is made once
    pipe.predict([doc])
    with measure_memory(peaks):
        pipe.get_loss([Example(doc, reference)], scores)
    with measure_memory(peaks):
        assert any(pipe.predict([doc]))
    training, prediction = (peak / n_pairs for peak in peaks)
    # The gradient of the learned transitions in single precision, and three times the legal ones in
    # double precision, which are a quarter. One matrix in double precision would be eight.
    assert training < 16 and prediction < 8


def test_it_is_faster_than_all_pairs():
    lengths = [20] * 10
    scheme, scores, allowed, gold = make_case(300, lengths)

    def sum_structured():
        get_gradients(scheme, scores, lengths, allowed, gold)

    def sum_pairs():
        leaves = [torch.tensor(values, requires_grad=True) for values in scores]
        sums = sum_all_pairs(scheme, leaves, 20, allowed)
        torch.autograd.grad(sums.sum(), leaves)

    def measure(function):
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    # It is three times as fast where nothing else runs.
    times = [(measure(sum_structured), measure(sum_pairs)) for _ in range(4)]
    ours, theirs = map(min, zip(*times, strict=True))
    assert ours < theirs / 1.5


@pytest.mark.parametrize("n_labels", [3, 40])
def test_parts_of_a_batch_change_nothing(n_labels, monkeypatch):
    fix_random_seed(0)
    nlp = spacy.blank("xx")
    pipe = nlp.add_pipe("rnn_ner")
    examples = []
    for i in range(n_labels):
        doc = Doc(nlp.vocab, words=[f"name{i}", f"surname{i}", "met", f"friend{i}"])
        reference = doc.copy()
        reference.ents = [Span(reference, 0, 2, f"A{i}"), Span(reference, 3, 4, f"A{i}")]
        examples.append(Example(doc, reference))
    sgd = nlp.initialize(lambda: examples)
    for _ in range(30):
        nlp.update(examples, sgd=sgd)
    docs = [eg.predicted for eg in examples]
    docs = [Doc(nlp.vocab), *docs[:2], Doc(nlp.vocab), Doc(nlp.vocab), *docs[2:], Doc(nlp.vocab)]
    expected = pipe.predict(docs)
    assert sum(map(len, expected)) >= n_labels
    for size in (1, 10 * pipe.scheme.n_tags):
        monkeypatch.setattr(rnn_ner, "MAX_SCORES", size)
        found = pipe.predict(docs)
        for ours, theirs in zip(found, expected, strict=True):
            assert [entity[:3] for entity in ours] == [entity[:3] for entity in theirs]
            probs = [entity[3] for entity in theirs]
            assert [entity[3] for entity in ours] == pytest.approx(probs, abs=1e-5)


def test_labels_that_are_added_make_no_weights_before_training():
    nlp = spacy.blank("xx")
    pipe = nlp.add_pipe("rnn_textcat")
    labels = [f"A{i}" for i in range(50)]
    for label in labels:
        pipe.add_label(label)
    layers = list(pipe.model.walk())
    assert not any(layer.has_param("W") for layer in layers)
    cats = {label: float(label == "A3") for label in labels}
    examples = [Example.from_dict(nlp.make_doc("so it is"), {"cats": cats})]
    sgd = nlp.initialize(lambda: examples)
    nlp.update(examples, sgd=sgd)
    before = nlp("so it is").cats
    assert list(before) == labels and sum(before.values()) == pytest.approx(1, abs=1e-5)
    pipe.add_label("NEW")
    after = nlp("so it is").cats
    assert [after[label] for label in labels] == pytest.approx(list(before.values()), abs=1e-5)
