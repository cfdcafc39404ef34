from itertools import chain, combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_rnn.modules.crf.span_crf import SpanCRF
from spacy_rnn.modules.crf.span_search import choose_disjoint
from spacy_rnn.modules.crf.tagging_scheme import (
    BEGIN,
    INSIDE,
    LAST,
    SCHEMES,
    UNIT,
    TaggingScheme,
)

from .test_chain import get_legal

pytestmark = pytest.mark.usefixtures("kernels")


def make_case(scheme, lengths, seed, scale):
    """Scores and what is allowed, O everywhere."""
    rng = np.random.default_rng(seed)
    n = scheme.n_learned
    names = ("emissions", "transitions", "start", "end")
    shapes = ((sum(lengths), n), (n, n), (n,), (n,))
    scores = {
        name: rng.normal(0, scale, shape).astype(np.float32)
        for name, shape in zip(names, shapes, strict=True)
    }
    allowed = rng.random((sum(lengths), scheme.n_tags)) < 0.9
    allowed[:, scheme.outside] = True
    return scores, allowed


def make_crf(scheme, emissions, transitions, start, end, lengths):
    legal = scheme.select_legal(transitions)
    return SpanCRF(scheme, emissions, legal, start, end, lengths)


def list_readings(scheme, scores, allowed, start, length, temperature):
    """All legal sequences of tags of one sequence, with their probabilities."""
    learned = scheme.get_learned().tolist()
    legal = get_legal(scheme.n_labels)
    inside, opening = scheme.get_parts(INSIDE, LAST), scheme.get_parts(BEGIN, INSIDE)
    values = {name: value.astype(np.float64) for name, value in scores.items()}
    readings, sums = [], []
    for tags in product(range(scheme.n_tags), repeat=length):
        possible = all(allowed[start + i, tag] for i, tag in enumerate(tags))
        possible = possible and all(legal[i, j] for i, j in pairwise(tags))
        if not possible or inside[tags[0]] or opening[tags[-1]]:
            continue
        ids = [learned[tag] for tag in tags]
        score = values["start"][ids[0]] + values["end"][ids[-1]]
        score += sum(values["emissions"][start + i, k] for i, k in enumerate(ids))
        score += sum(values["transitions"][i, j] for i, j in pairwise(ids))
        readings.append(scheme.get_spans(list(tags)))
        sums.append(score / temperature)
    return readings, np.exp(np.array(sums) - np.logaddexp.reduce(sums)).tolist()


def overlap(spans):
    tokens = list(chain.from_iterable(range(start, end) for start, end, *_ in spans))
    return len(tokens) > len(set(tokens))


def choose_by_brute_force(spans, threshold):
    subsets = chain.from_iterable(combinations(spans, n) for n in range(len(spans) + 1))
    return max(
        sum(prob - threshold for *_, prob in subset) for subset in subsets if not overlap(subset)
    )


@settings(deadline=None)
@given(
    st.sampled_from(SCHEMES),
    st.integers(1, 2),
    st.lists(st.integers(0, 3), min_size=1, max_size=4).filter(any),
    st.integers(0, 1000),
    st.sampled_from([0.1, 1.0, 3.0]),
    st.sampled_from([0.01, 0.1, 0.2, 0.35, 0.5, 0.9]),
    st.sampled_from([1.0, 1.75]),
)
def test_probable_spans_equal_brute_force(
    name, n_labels, lengths, seed, scale, threshold, temperature
):
    scheme = TaggingScheme(name, n_labels)
    scores, allowed = make_case(scheme, lengths, seed, scale)
    crf = make_crf(scheme, lengths=lengths, **scores)
    found = crf.find_probable_spans(allowed, threshold, temperature)
    start = 0
    for spans, length in zip(found, lengths, strict=True):
        expected = {}
        if length:
            readings = list_readings(scheme, scores, allowed, start, length, temperature)
            for reading, prob in zip(*readings, strict=True):
                for span in reading:
                    expected[span] = expected.get(span, 0.0) + prob
        for *span, prob in spans:
            assert prob == pytest.approx(expected[tuple(span)], abs=1e-4)
        assert spans == sorted(spans) and not overlap(spans)
        assert all(prob >= threshold for *_, prob in spans)
        probable = [(*span, prob) for span, prob in expected.items() if prob > threshold]
        gain = sum(prob - threshold for *_, prob in spans)
        assert gain == pytest.approx(choose_by_brute_force(probable, threshold), abs=1e-4)
        start += length


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(1, 4), st.integers(0, 1), st.floats(0.25, 1.0)),
        max_size=7,
    )
)
def test_of_spans_that_overlap_the_best_are_chosen(drawn):
    spans = [(start, start + length, label, prob) for start, length, label, prob in drawn]
    chosen = choose_disjoint(spans, 0.25)
    assert not overlap(chosen) and chosen == sorted(chosen) and set(chosen) <= set(spans)
    gain = sum(prob - 0.25 for *_, prob in chosen)
    assert gain == pytest.approx(choose_by_brute_force(spans, 0.25), abs=1e-9)


def test_long_spans_are_found_whatever_is_ruled_out_within():
    scheme = TaggingScheme("biluo", 2)
    n_tokens = 60
    emissions = np.zeros((n_tokens, scheme.n_learned), dtype=np.float32)
    begin, inside, last = (
        scheme.get_learned()[scheme.get_tag(1, part)] for part in (BEGIN, INSIDE, LAST)
    )
    emissions[:, inside] = 500.0
    emissions[0, begin] = emissions[-1, last] = 500.0
    zeros = np.zeros(scheme.n_learned, dtype=np.float32)
    transitions = np.zeros((len(zeros), len(zeros)), dtype=np.float32)
    crf = make_crf(scheme, emissions, transitions, zeros, zeros, [n_tokens])
    allowed = np.ones((n_tokens, scheme.n_tags), dtype=bool)
    one, half = pytest.approx(1.0), pytest.approx(0.5)
    assert crf.find_probable_spans(allowed, 0.5) == [[(0, n_tokens, 1, one)]]
    allowed[30] = False
    allowed[30, [scheme.outside, scheme.get_tag(0, UNIT)]] = True
    expected = [(0, 30, 1, one), (30, 31, 0, half), (31, n_tokens, 1, one)]
    assert crf.find_probable_spans(allowed, 0.4) == [expected]
