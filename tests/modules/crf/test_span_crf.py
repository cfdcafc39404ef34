"""Losses and gradients equal their definitions, by brute force with autograd."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch

from spacy_rnn.modules.crf.span_crf import SpanCRF
from spacy_rnn.modules.crf.tagging_scheme import (
    BEGIN,
    INSIDE,
    LAST,
    SCHEMES,
    TaggingScheme,
)

from .test_chain import get_legal

pytestmark = pytest.mark.usefixtures("kernels")

LENGTHS = [2, 0, 4, 1, 3]
NAMES = ("emissions", "transitions", "start", "end")


def make_case(name, seed):
    """Scores in double precision, what is allowed, and what agrees. Always O, if not all."""
    scheme = TaggingScheme(name, 2)
    rng = np.random.default_rng(seed)
    n, n_tokens = scheme.n_learned, sum(LENGTHS)
    scores = {
        key: rng.normal(0, 2, shape)
        for key, shape in zip(NAMES, ((n_tokens, n), (n, n), (n,), (n,)), strict=True)
    }
    allowed, agreeing = (rng.random((n_tokens, scheme.n_tags)) < share for share in (0.9, 0.5))
    allowed[:, scheme.outside] = agreeing[:, scheme.outside] = True
    return scheme, scores, allowed, agreeing


def make_crf(scheme, scores):
    emissions, transitions, start, end = scores.values()
    return SpanCRF(scheme, emissions, scheme.select_legal(transitions), start, end, LENGTHS)


def list_paths(scheme, scores, allowed):
    """For each sequence, all its readings, and torch's sum of the scores of each."""
    learned, legal = scheme.get_learned().tolist(), get_legal(scheme.n_labels)
    inside, opening = scheme.get_parts(INSIDE, LAST), scheme.get_parts(BEGIN, INSIDE)
    first = 0
    for length in LENGTHS:
        paths, sums = [], []
        for tags in product(range(scheme.n_tags), repeat=length):
            if not length or inside[tags[0]] or opening[tags[-1]]:
                continue
            if not all(legal[pair] for pair in pairwise(tags)):
                continue
            if not all(allowed[first + i, tag] for i, tag in enumerate(tags)):
                continue
            ids = [learned[tag] for tag in tags]
            score = scores["emissions"][range(first, first + length), ids].sum()
            score = score + scores["transitions"][ids[:-1], ids[1:]].sum()
            sums.append(score + scores["start"][ids[0]] + scores["end"][ids[-1]])
            paths.append(tags)
        yield paths, torch.stack(sums) if sums else torch.tensor([-torch.inf])
        first += length


def get_all_sums(scheme, scores, allowed):
    return [sums.logsumexp(0) for _, sums in list_paths(scheme, scores, allowed)]


def check(scheme, scores, compute, define):
    """Compare losses, and the gradient of their sum with different weights."""
    tensors = {name: torch.tensor(x, requires_grad=True) for name, x in scores.items()}
    losses, backprop = compute(make_crf(scheme, scores))
    expected = define(tensors)
    np.testing.assert_allclose(losses, expected.detach(), rtol=1e-9)
    weights = 1.0 + np.arange(len(losses))
    gradient = backprop(weights)._asdict()
    gradient["transitions"] = scheme.add_legal(gradient["transitions"])
    theirs = torch.autograd.grad(
        (expected * torch.tensor(weights)).sum(),
        list(tensors.values()),
        materialize_grads=True,
        allow_unused=True,
    )
    for name, grad in zip(NAMES, theirs, strict=True):
        np.testing.assert_allclose(gradient[name], grad, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("is_complete", [True, False])
def test_losses(name, is_complete):
    scheme, scores, allowed, agreeing = make_case(name, 0)
    if is_complete:
        agreeing[:] = False
        agreeing[range(len(agreeing)), scheme.outside] = True
        span = scheme.get_span_tags(1, 3)
        agreeing[3:6] = False
        allowed[range(3, 6), span] = agreeing[range(3, 6), span] = True

    def define(tensors):
        sums = [get_all_sums(scheme, tensors, mask) for mask in (allowed, allowed & agreeing)]
        losses = [everything - agreed for everything, agreed in zip(*sums, strict=True)]
        # Longest first
        return torch.stack([losses[i] for i in (2, 4, 0, 3)])

    check(scheme, scores, lambda crf: crf.get_losses(allowed, agreeing), define)


@pytest.mark.parametrize("is_complete", [True, False])
def test_impossible_sequences_have_an_infinite_loss_and_no_gradient(is_complete):
    scheme, scores, allowed, agreeing = make_case("biluo", 1)
    if is_complete:
        agreeing[:] = np.arange(scheme.n_tags) == scheme.outside
    # The sequence of four tokens begins within a span.
    agreeing[2] = scheme.get_parts(INSIDE)
    losses, backprop = make_crf(scheme, scores).get_losses(allowed, agreeing)
    assert losses[0] == np.inf and np.isfinite(losses[1:]).all()
    gradient = backprop((losses != np.inf).astype(np.float64))
    assert not gradient.emissions[2:6].any() and gradient.emissions[:2].any()
    assert all(
        np.isfinite(x).all()
        for x in (gradient.emissions, gradient.transitions.outer, gradient.transitions.inner)
    )


@pytest.mark.parametrize("name", SCHEMES)
def test_token_losses(name):
    scheme, scores, _, agreeing = make_case(name, 2)

    def define(tensors):
        masks = np.zeros((len(agreeing), scheme.n_learned), dtype=bool)
        for token, tag in zip(*agreeing.nonzero(), strict=True):
            masks[token, scheme.get_learned()[tag]] = True
        agreed = tensors["emissions"].masked_fill(~torch.from_numpy(masks), -torch.inf)
        return tensors["emissions"].logsumexp(1) - agreed.logsumexp(1)

    check(scheme, scores, lambda crf: crf.get_token_losses(agreeing), define)


@pytest.mark.parametrize("name", SCHEMES)
def test_span_losses(name):
    scheme, scores, allowed, _ = make_case(name, 3)
    # Two of a sequence, and the shortest before the longest
    spans = [(3, 0, 1, 0), (2, 1, 3, 1), (2, 0, 3, 0), (4, 2, 3, 1)]
    starts = np.cumsum([0, *LENGTHS])
    for number, start, end, label in spans:
        for i, tag in enumerate(scheme.get_span_tags(label, end - start)):
            allowed[starts[number] + start + i, tag] = True

    def define(tensors):
        losses, readings = [], list(list_paths(scheme, tensors, allowed))
        for number, start, end, label in spans:
            paths, sums = readings[number]
            wanted = tuple(scheme.get_span_tags(label, end - start))
            has_span = torch.tensor([path[start:end] == wanted for path in paths])
            losses.append(-torch.log(1 - sums.softmax(0)[has_span].sum()))
        return torch.stack(losses)

    check(scheme, scores, lambda crf: crf.get_span_losses(allowed, spans), define)


def test_the_loss_of_a_span_that_is_certain_is_bounded_but_not_its_gradient():
    scheme, scores, allowed, _ = make_case("biluo", 4)
    unit = scheme.get_span_tags(0, 1)[0]
    scores["emissions"][-1, scheme.get_learned()[unit]] = 100.0
    allowed[-1, unit] = True
    losses, backprop = make_crf(scheme, scores).get_span_losses(allowed, [(4, 2, 3, 0)])
    assert losses[0] == pytest.approx(-np.log(1e-12), rel=1e-3)
    assert np.isfinite(backprop(np.ones(1)).emissions).all()
