from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_rnn.modules import crf
from spacy_rnn.modules.batching import StepMajor
from spacy_rnn.modules.crf import Chain, find_best, find_k_best, log_partition
from spacy_rnn.modules.tagging_scheme import SCHEMES, TaggingScheme

pytestmark = pytest.mark.usefixtures("kernels")

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(0, 4), min_size=1, max_size=5)


def make_case(lengths, n_tags, seed, ruled_out=0.3, dtype=torch.float32):
    """Scores, some of them minus infinity, with tag 0 always allowed."""
    generator = torch.Generator().manual_seed(seed)
    layout = StepMajor.from_lengths(lengths, CPU)
    shapes = ((sum(lengths), n_tags), (n_tags, n_tags))
    scores, transitions = (torch.randn(s, generator=generator, dtype=dtype) * 2 for s in shapes)
    for values in (scores, transitions):
        values[torch.rand(values.shape, generator=generator) < ruled_out] = -torch.inf
        values[:, 0] = values[:, 0].nan_to_num(neginf=0.5)
    return scores, transitions, layout


def list_paths(scores, transitions, layout):
    """For each sequence, all its paths with their scores, best first."""
    result = []
    n_tags = scores.shape[1]
    for row in range(layout.sizes[0] if layout.sizes else 0):
        positions = (layout.rows == row).nonzero().squeeze(1).tolist()
        paths = []
        for tags in product(range(n_tags), repeat=len(positions)):
            score = sum(scores[p, t].double() for p, t in zip(positions, tags, strict=True))
            score += sum(transitions[i, j].double() for i, j in pairwise(tags))
            paths.append((float(score), tags))
        result.append((positions, sorted(paths, key=lambda path: -path[0])))
    return result


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 4), st.integers(0, 1000))
def test_everything_equals_brute_force(lengths, n_tags, seed):
    scores, transitions, layout = make_case(lengths, n_tags, seed)
    chain = Chain.from_scores(scores, transitions, layout)
    partition, marginals = log_partition(scores, transitions, layout), chain.get_marginals()
    best = find_best(scores, transitions, layout)
    k_best, k_scores = find_k_best(scores, transitions, layout, 3)
    for row, (positions, paths) in enumerate(list_paths(scores, transitions, layout)):
        total = torch.logsumexp(torch.tensor([score for score, _ in paths]), 0)
        assert partition[row].item() == pytest.approx(total.item(), abs=1e-4)
        expected = torch.zeros(len(positions), n_tags)
        for score, tags in paths:
            expected[range(len(tags)), tags] += (score - total).exp()
        torch.testing.assert_close(marginals[positions].float(), expected, atol=1e-4, rtol=0)
        # Sums of single precision scores may tie: compare scores, not tags.
        by_tags = {tags: score for score, tags in paths}
        assert by_tags[tuple(best[positions].tolist())] == pytest.approx(paths[0][0], abs=1e-4)
        readings = [tuple(tags) for tags in k_best[:, positions].tolist()]
        possible = [path for path in paths if path[0] > -torch.inf][:3]
        for i, (score, _) in enumerate(possible):
            assert k_scores[i, row].item() == pytest.approx(score, abs=1e-4)
            assert by_tags[readings[i]] == pytest.approx(score, abs=1e-4)
        assert len(set(readings[: len(possible)])) == len(possible)
        assert (k_scores[len(possible) :, row] == -torch.inf).all()


@settings(deadline=None)
@given(LENGTHS.filter(any), st.integers(0, 1000), st.data())
def test_path_probabilities_equal_brute_force(lengths, seed, data):
    scores, transitions, layout = make_case(lengths, 3, seed)
    chain = Chain.from_scores(scores, transitions, layout)
    all_paths = list_paths(scores, transitions, layout)
    positions, tags, numbers, expected = [], [], [], []
    for number in range(4):
        where, paths = data.draw(st.sampled_from(all_paths))
        start = data.draw(st.integers(0, len(where) - 1))
        end = data.draw(st.integers(start + 1, len(where)))
        wanted = data.draw(st.tuples(*[st.integers(0, 2)] * (end - start)))
        weights = torch.tensor([score for score, _ in paths]).softmax(0).tolist()
        same = [w for w, (_, path) in zip(weights, paths, strict=True) if path[start:end] == wanted]
        expected.append(sum(same))
        positions += where[start:end]
        tags += wanted
        numbers += [number] * (end - start)
    arrays = [torch.tensor(values) for values in (positions, tags, numbers)]
    found = chain.get_path_log_probs(*arrays, 4).exp().tolist()
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("ruled_out", [0.0, 0.3])
def test_gradients_equal_numeric_ones(ruled_out):
    scores, transitions, layout = make_case([3, 0, 1, 4], 3, 0, ruled_out, torch.float64)
    possible = scores > -torch.inf, transitions > -torch.inf

    def compute(some_scores, some_transitions):
        # Minus infinity has no numeric gradient.
        full = [torch.full_like(s, -torch.inf) for s in (scores, transitions)]
        for values, where, some in zip(
            full, possible, (some_scores, some_transitions), strict=True
        ):
            values[where] = some
        return log_partition(*full, layout)

    inputs = [
        values[where].requires_grad_()
        for values, where in zip((scores, transitions), possible, strict=True)
    ]
    assert torch.autograd.gradcheck(compute, inputs)


def test_long_sequences_and_large_scores_do_not_overflow():
    scores, transitions, layout = make_case([3000, 2], 3, 0, 0.0)
    for factor in (1.0, 1e3, 1e6):
        chain = Chain.from_scores(scores * factor, transitions, layout)
        assert torch.isfinite(chain.log_sums).all()
        totals = chain.get_marginals().sum(dim=1)
        torch.testing.assert_close(totals, torch.ones_like(totals))
        best = find_best(scores * factor, transitions, layout)
        if factor > 1e3:
            assert torch.equal(best, scores.argmax(dim=1))


def test_what_is_ruled_out_altogether_has_no_probability():
    scores, transitions, layout = make_case([2, 1], 3, 0, 0.0)
    scores[layout.rows == 0] = -torch.inf
    partition = log_partition(scores, transitions, layout)
    assert partition[0] == -torch.inf and torch.isfinite(partition[1])


def test_a_batch_of_nothing():
    scores, transitions, layout = make_case([0, 0], 3, 0)
    assert log_partition(scores, transitions, layout).shape == (0,)
    assert find_best(scores, transitions, layout).shape == (0,)
    assert find_k_best(scores, transitions, layout, 2)[0].shape == (2, 0)


def test_what_is_kept_of_a_scheme_is_made_once_and_of_use_for_training():
    with torch.inference_mode():
        legal = TaggingScheme("biluo", 61).get_legal()
    again = TaggingScheme("biluo", 61).get_legal()
    assert again is legal
    scores = torch.zeros(legal.shape, requires_grad=True)
    scores.masked_fill(~legal, -torch.inf)[again].sum().backward()
    assert torch.equal(scores.grad, legal.float())


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_write_and_read_the_same_spans(name):
    scheme = TaggingScheme(name, 2)
    legal = scheme.get_legal()
    spans = [(0, 1, 1), (1, 4, 0), (5, 7, 1)]
    tags = [0] * 8
    for start, end, label in spans:
        tags[start:end] = scheme.get_span_tags(label, end - start)
    assert scheme.get_spans(tags) == spans
    assert all(legal[i, j] for i, j in pairwise(tags))
    learned = scheme.get_learned()
    assert len(learned) == scheme.n_tags and int(learned.max()) == scheme.n_learned - 1
    # A span that has begun must go on, with its own label.
    begin = scheme.get_span_tags(0, 2)[0]
    assert not legal[begin, 0] and not legal[begin, scheme.get_span_tags(1, 2)[1]]
    # Labels that are added leave the others' tags as they are.
    assert torch.equal(TaggingScheme(name, 3).get_learned()[: scheme.n_tags], learned)


@pytest.mark.parametrize("n_labels", [1, 2, 18])
def test_groups_are_all_legal_transitions(n_labels):
    scheme = TaggingScheme("biluo", n_labels)
    count = torch.zeros(scheme.n_tags, scheme.n_tags, dtype=torch.long)
    for sources, targets in scheme.get_groups():
        for before, after in zip(sources, targets, strict=True):
            count[before.unsqueeze(1), after] += 1
    assert torch.equal(count, scheme.get_legal().long())


@pytest.mark.parametrize("n_labels", [1, 3, 18])
def test_groups_change_nothing(n_labels, monkeypatch):
    scheme = TaggingScheme("biluo", n_labels)
    lengths = [5, 0, 1, 30, 7]
    scores, transitions, layout = make_case(lengths, scheme.n_tags, seed=n_labels)
    transitions = transitions.masked_fill(~scheme.get_legal(), -torch.inf)
    expected = find_best(scores, transitions, layout)
    monkeypatch.setattr(crf, "MIN_GROUPED", 0)
    assert torch.equal(find_best(scores, transitions, layout, scheme.get_groups()), expected)
