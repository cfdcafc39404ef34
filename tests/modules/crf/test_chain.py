from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_rnn.modules.crf import transitions, viterbi
from spacy_rnn.modules.crf.chain import Chain, get_path_scores, log_partition
from spacy_rnn.modules.crf.tagging_scheme import (
    BEGIN,
    INSIDE,
    LAST,
    SCHEMES,
    UNIT,
    TaggingScheme,
)
from spacy_rnn.modules.crf.transitions import Transitions, find_places
from spacy_rnn.modules.crf.viterbi import find_best, find_k_best
from spacy_rnn.modules.step_major import StepMajor

pytestmark = pytest.mark.usefixtures("kernels")

LENGTHS = st.lists(st.integers(0, 4), min_size=1, max_size=5)


def get_legal(n_labels):
    """Whether a tag (column) may follow another (row)."""
    scheme = TaggingScheme("biluo", n_labels)
    legal = np.zeros((scheme.n_tags, scheme.n_tags), dtype=bool)
    labels = range(n_labels)
    ends, begins = (
        [scheme.outside, *(scheme.get_tag(i, part) for i in labels for part in (UNIT, other))]
        for other in (LAST, BEGIN)
    )
    for before, after in product(ends, begins):
        legal[before, after] = True
    for i, before, after in product(labels, (BEGIN, INSIDE), (INSIDE, LAST)):
        legal[scheme.get_tag(i, before), scheme.get_tag(i, after)] = True
    return legal


def make_case(lengths, n_labels, seed, ruled_out=0.3, dtype=np.float32):
    """Scores, some of them minus infinity, with O always allowed."""
    rng = np.random.default_rng(seed)
    layout = StepMajor.from_lengths(lengths)
    scheme = TaggingScheme("biluo", n_labels)
    shapes = ((sum(lengths), scheme.n_tags), (scheme.n_tags, scheme.n_tags))
    scores, matrix = (rng.normal(0, 2, shape).astype(dtype) for shape in shapes)
    for values in (scores, matrix):
        values[rng.random(values.shape) < ruled_out] = -np.inf
        outside = values[:, scheme.outside]
        outside[outside == -np.inf] = 0.5
    return scores, matrix, layout


def choose_legal(matrix):
    return Transitions.from_matrix(matrix, find_places(np.arange(len(matrix))))


def list_paths(scores, matrix, layout):
    """For each sequence, all its legal paths with their scores, best first."""
    result = []
    n_tags = scores.shape[1]
    matrix = np.where(get_legal(n_tags // 4), matrix, -np.inf).tolist()
    emissions = scores.tolist()
    for row in range(layout.sizes[0] if layout.sizes else 0):
        positions = (layout.rows == row).nonzero()[0].tolist()
        paths = [(0.0, ())]
        for position in positions:
            # What is impossible stays so.
            paths = [
                (
                    score + emissions[position][j] + (matrix[tags[-1]][j] if tags else 0.0),
                    (*tags, j),
                )
                for score, tags in paths
                for j in range(n_tags)
                if score > -np.inf
            ]
        result.append((positions, sorted(paths, key=lambda path: -path[0])))
    return result


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 2), st.integers(0, 1000))
def test_everything_equals_brute_force(lengths, n_labels, seed):
    scores, matrix, layout = make_case(lengths, n_labels, seed)
    transitions, n_tags = choose_legal(matrix), len(matrix)
    chain = Chain.from_scores(scores, transitions, layout)
    (partition, _), marginals = log_partition(scores, transitions, layout), chain.get_marginals()
    best = find_best(scores, transitions, layout)
    k_best, k_scores = find_k_best(scores, transitions, layout, 3)
    for row, (positions, paths) in enumerate(list_paths(scores, matrix, layout)):
        total = np.logaddexp.reduce([score for score, _ in paths])
        assert partition[row] == pytest.approx(total, abs=1e-9)
        expected = np.zeros((len(positions), n_tags))
        for score, tags in paths:
            expected[range(len(tags)), tags] += np.exp(score - total)
        np.testing.assert_allclose(marginals[positions], expected, atol=1e-9)
        # Sums of single precision scores may tie: compare scores, not tags.
        by_tags = {tags: score for score, tags in paths}
        assert by_tags[tuple(best[positions].tolist())] == pytest.approx(paths[0][0], abs=1e-4)
        readings = [tuple(tags) for tags in k_best[:, positions].tolist()]
        possible = [path for path in paths if path[0] > -np.inf][:3]
        for i, (score, _) in enumerate(possible):
            assert k_scores[i, row] == pytest.approx(score, abs=1e-9)
            assert by_tags[readings[i]] == pytest.approx(score, abs=1e-9)
        assert len(set(readings[: len(possible)])) == len(possible)
        assert (k_scores[len(possible) :, row] == -np.inf).all()


@settings(deadline=None)
@given(LENGTHS.filter(any), st.integers(0, 1000), st.data())
def test_span_probabilities_equal_brute_force(lengths, seed, data):
    scheme = TaggingScheme("biluo", 2)
    scores, matrix, layout = make_case(lengths, 2, seed)
    chain = Chain.from_scores(scores, choose_legal(matrix), layout)
    all_paths = list_paths(scores, matrix, layout)
    positions, tags, numbers, expected = [], [], [], []
    for number in range(4):
        where, paths = data.draw(st.sampled_from(all_paths))
        start = data.draw(st.integers(0, len(where) - 1))
        end = data.draw(st.integers(start + 1, len(where)))
        wanted = tuple(scheme.get_span_tags(data.draw(st.integers(0, 1)), end - start))
        total = np.logaddexp.reduce([score for score, _ in paths])
        same = [np.exp(score - total) for score, path in paths if path[start:end] == wanted]
        expected.append(sum(same))
        positions += where[start:end]
        tags += wanted
        numbers += [number] * (end - start)
    arrays = [np.array(values) for values in (positions, tags, numbers)]
    found = np.exp(chain.get_span_log_probs(*arrays, 4))
    assert found == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(LENGTHS.filter(any), st.integers(0, 1000), st.data())
def test_scores_of_paths_equal_the_definition(lengths, seed, data):
    scores, matrix, layout = make_case(lengths, 2, seed)
    legal = np.where(get_legal(2), matrix, -np.inf)
    tags = data.draw(st.lists(st.integers(0, 8), min_size=len(scores), max_size=len(scores)))
    tags = np.array(tags)
    found, backprop = get_path_scores(scores, tags, choose_legal(matrix), layout)
    d_scores, d_transitions = backprop(1.0 + np.arange(len(found)))
    expected_scores, expected_matrix = np.zeros(scores.shape), np.zeros(matrix.shape)
    for row, score in enumerate(found):
        (positions,) = (layout.rows == row).nonzero()
        path = tags[positions]
        expected = scores[positions, path].sum() + legal[path[:-1], path[1:]].sum()
        assert score == pytest.approx(expected, abs=1e-4)
        expected_scores[positions, path] = 1 + row
        for before, after in pairwise(path):
            expected_matrix[before, after] += 1 + row
    np.testing.assert_array_equal(d_scores, expected_scores)
    places = find_places(np.arange(len(matrix)))
    expected_matrix[~get_legal(2)] = 0.0
    np.testing.assert_array_equal(d_transitions.to_matrix(places, len(matrix)), expected_matrix)


@pytest.mark.parametrize("ruled_out", [0.0, 0.3])
@pytest.mark.parametrize("name", SCHEMES)
def test_gradients_equal_numeric_ones(ruled_out, name):
    scheme = TaggingScheme(name, 2)
    scores, matrix, layout = make_case([3, 0, 1, 4], 2, 0, ruled_out, np.float64)
    # Learned tags that two tags share are followed by the same.
    matrix = matrix[: scheme.n_learned, : scheme.n_learned]
    sums, backprop = log_partition(scores, scheme.select_legal(matrix), layout)
    weights = np.random.default_rng(1).normal(size=len(sums))
    d_scores, d_transitions = backprop(weights)
    for values, gradient in ((scores, d_scores), (matrix, scheme.add_legal(d_transitions))):
        assert gradient.shape == values.shape and not gradient[values == -np.inf].any()
        for place in zip(*(values > -np.inf).nonzero(), strict=True):
            value, changes = values[place], []
            for values[place] in (value + 1e-4, value - 1e-4):
                changed, _ = log_partition(scores, scheme.select_legal(matrix), layout)
                changes.append(changed @ weights)
            values[place] = value
            assert gradient[place] == pytest.approx(-np.diff(changes)[0] / 2e-4, abs=1e-7)


def test_long_sequences_and_large_scores_do_not_overflow():
    scores, matrix, layout = make_case([3000, 2], 1, 0, 0.0)
    transitions = choose_legal(matrix)
    # B and I, which must go on, are not best.
    scores[:, :2] -= 50.0
    scores[:, 4] -= 50.0
    for factor in (1.0, 1e3, 1e6):
        chain = Chain.from_scores(scores * factor, transitions, layout)
        assert np.isfinite(chain.log_sums).all()
        np.testing.assert_allclose(chain.get_marginals().sum(axis=1), 1.0)
        best = find_best(scores * factor, transitions, layout)
        if factor > 1e3:
            assert np.array_equal(best, scores.argmax(axis=1))


def test_what_is_ruled_out_altogether_has_no_probability():
    scores, matrix, layout = make_case([2, 1], 3, 0, 0.0)
    scores[layout.rows == 0] = -np.inf
    partition, backprop = log_partition(scores, choose_legal(matrix), layout)
    assert partition[0] == -np.inf and np.isfinite(partition[1])
    d_scores, d_transitions = backprop(np.array([0.0, 1.0]))
    np.testing.assert_allclose(d_scores.sum(axis=1), layout.rows)
    assert not d_transitions.outer.any() and not d_transitions.inner.any()


def test_a_batch_of_nothing():
    scores, matrix, layout = make_case([0, 0], 3, 0)
    transitions = choose_legal(matrix)
    sums, backprop = log_partition(scores, transitions, layout)
    assert sums.shape == (0,) and backprop(sums)[0].shape == (0, 13)
    assert find_best(scores, transitions, layout).shape == (0,)
    assert find_k_best(scores, transitions, layout, 2)[0].shape == (2, 0)


def test_what_is_kept_of_a_scheme_is_made_once_and_nobody_may_write_to_it():
    parts = TaggingScheme("biluo", 61).get_parts(BEGIN)
    assert TaggingScheme("biluo", 61).get_parts(BEGIN) is parts
    with pytest.raises(ValueError, match="read-only"):
        parts[0] = True


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_write_and_read_the_same_spans(name):
    scheme = TaggingScheme(name, 2)
    legal = get_legal(2)
    spans = [(0, 1, 1), (1, 4, 0), (5, 7, 1)]
    tags = [scheme.outside] * 8
    for start, end, label in spans:
        tags[start:end] = scheme.get_span_tags(label, end - start)
    assert scheme.get_spans(tags) == spans
    assert all(legal[i, j] for i, j in pairwise(tags))
    learned = scheme.get_learned()
    assert len(learned) == scheme.n_tags and int(learned.max()) == scheme.n_learned - 1
    # A span that has begun must go on, with its own label.
    begin = scheme.get_span_tags(0, 2)[0]
    assert not legal[begin, scheme.outside] and not legal[begin, scheme.get_span_tags(1, 2)[1]]
    # Labels that are added leave the others' learned tags as they are.
    more = TaggingScheme(name, 3)
    for label, part in product(range(2), (BEGIN, INSIDE, LAST, UNIT)):
        tags = (each.get_tag(label, part) for each in (scheme, more))
        assert learned[next(tags)] == more.get_learned()[next(tags)]


@pytest.mark.parametrize("n_labels", [1, 3, 18])
def test_legal_transitions_are_chosen_and_no_others(n_labels):
    legal, n_tags = get_legal(n_labels), 4 * n_labels + 1
    matrix = np.arange(n_tags**2, dtype=np.float64).reshape(n_tags, n_tags)
    chosen = choose_legal(matrix)
    assert sorted([*chosen.outer.ravel(), *chosen.inner.ravel()]) == matrix[legal].tolist()
    tags = np.arange(n_tags)
    expected = np.where(legal, matrix, -1.0)
    np.testing.assert_array_equal(chosen.get(tags[:, None], tags, illegal=-1.0), expected)
    again = chosen.to_matrix(find_places(tags), n_tags)
    np.testing.assert_array_equal(again, np.where(legal, matrix, 0.0))


@pytest.mark.parametrize("n_labels", [1, 3, 18])
def test_chunks_change_nothing(n_labels, monkeypatch):
    scores, matrix, layout = make_case([5, 0, 1, 30, 7], n_labels, seed=n_labels)
    chosen = choose_legal(matrix)
    expected = find_best(scores, chosen, layout), *find_k_best(scores, chosen, layout, 3)
    for module in (transitions, viterbi):
        monkeypatch.setattr(module, "MAX_SUMS", 1)
    found = find_best(scores, chosen, layout), *find_k_best(scores, chosen, layout, 3)
    assert all(map(np.array_equal, found, expected))
