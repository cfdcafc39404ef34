import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.layers.lm import Scorer

from ..pipeline.test_rnn_lm import VOCABULARY, make_nlp


def make_scorer(softmax="adaptive", directions="forward"):
    nlp = make_nlp(softmax, directions)
    return Scorer(nlp.get_pipe("rnn_lm").model, nlp.vocab)


@pytest.fixture(scope="module", params=["adaptive", "tied"])
def scorer(request):
    return make_scorer(request.param)


@given(words=st.lists(st.sampled_from(VOCABULARY[2:]), max_size=4))
def test_probabilities_of_all_next_words_add_up_to_one(scorer, words):
    logs = scorer.compare([words], [[*VOCABULARY[2:], "unheard-of"]])[0]
    end = scorer.get_log_probs([words])[0][-1]
    assert math.isclose(sum(map(math.exp, logs)) + math.exp(end), 1.0, rel_tol=1e-4)


def test_unknown_words_share_one_probability(scorer):
    first, second = scorer.compare([["the"]], [["xyzzy", "plugh"]])[0]
    assert first == second


def test_backward_reads_from_the_right():
    scorer = make_scorer(directions="both")
    assert scorer.directions == ["forward", "backward"]
    texts = [["the", "cats", "are", "here"], [], ["the", "cats", "are", "old"]]
    first, empty, second = scorer.get_log_probs(texts, 1)
    assert (len(first), len(empty)) == (5, 1)
    # Of the words, only the last is predicted from the same: nothing.
    assert not numpy.allclose(first[:3], second[:3], atol=1e-3)
    one = scorer.get_log_probs([["here"]], 1)[0]
    assert math.isclose(one[0], first[3], rel_tol=1e-4)
    with pytest.raises(ValueError, match="left only"):
        make_scorer().get_log_probs(texts, 1)


def test_generation_is_repeatable_and_in_the_vocabulary(scorer):
    words = scorer.generate(["the"], 20, seed=1)
    assert words == scorer.generate(["the"], 20, seed=1)
    assert set(words) <= set(VOCABULARY[2:])
    assert len(scorer.generate([], 3, top_k=1)) <= 3
    greedy = scorer.generate(["the", "cats"], 1, top_k=1)
    logs = scorer.compare([["the", "cats"]], [VOCABULARY[2:]])[0]
    end = scorer.get_log_probs([["the", "cats"]])[0][-1]
    best = VOCABULARY[2:][int(numpy.argmax(logs))]
    assert greedy == ([best] if max(logs) > end else [])
