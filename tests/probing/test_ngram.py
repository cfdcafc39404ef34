import math

import pytest

from spacy_rnn.modules.lm.vocabulary import Vocabulary
from spacy_rnn.probing.evaluate_lm import evaluate_language_model
from spacy_rnn.probing.ngram import NGramScorer

TEXTS = [text.split() for text in ["the cat sat", "the dog sat here", "a cat sat"] * 3]


@pytest.mark.parametrize("direction", [0, 1])
def test_both_directions_are_scored_in_the_order_of_the_text(direction):
    vocabulary = Vocabulary(["</s>", "<unk>", "the", "cat", "sat", "dog"])
    scorer = NGramScorer(vocabulary, TEXTS, 3, direction)
    (logs,) = scorer.get_log_probs([["the", "cat", "sat"]], direction)
    assert logs.shape == (4,)
    # From the left, "sat" is certain after "cat"; from the right, it is the first word.
    (alone,) = scorer.get_log_probs([["sat"]], direction)
    assert (logs[2] == alone[0]) == bool(direction)
    score = evaluate_language_model(scorer, TEXTS, direction)
    assert score.n_unknown == 6
    assert 1 < score.perplexity < math.exp(1.5)
    with pytest.raises(ValueError, match="other direction"):
        scorer.get_log_probs(TEXTS, 1 - direction)
