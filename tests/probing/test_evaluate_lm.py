import math

import numpy
import pytest

from spacy_rnn.probing.evaluate_lm import evaluate_language_model

from ..layers.test_lm import make_scorer


@pytest.mark.parametrize("softmax", ["adaptive", "tied"])
def test_evaluation_counts_words_ends_and_unknown_ones(softmax):
    texts = [["the", "cat"], [], ["xyzzy", "is", "here"]] * 50
    scorer = make_scorer(softmax)
    score = evaluate_language_model(scorer, iter(texts))
    assert (score.n_texts, score.n_words, score.n_unknown) == (100, 250, 50)
    logs = [scorer.get_log_probs([words])[0] for words in texts if words]
    every = numpy.concatenate(logs)
    assert math.isclose(score.perplexity, math.exp(-every.mean()), rel_tol=1e-4)
    known = numpy.concatenate([log[1:] if len(log) == 4 else log for log in logs])
    assert math.isclose(score.known_perplexity, math.exp(-known.mean()), rel_tol=1e-4)
    assert score.unknown_rate == 0.2
    assert math.isnan(evaluate_language_model(scorer, []).perplexity)
