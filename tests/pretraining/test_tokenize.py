import pytest
import spacy

from spacy_rnn.pretraining.tokenize import BATCH_TEXTS, tokenize


def test_words_pass_unchanged():
    texts = [["#a", "b c"], "#a b", ["d"], "f"]
    found = list(tokenize(texts, spacy.blank("en").tokenizer, 0))
    assert found == [["#a", "b c"], ["#", "a", "b"], ["d"], ["f"]]


@pytest.mark.parametrize("n_process", [0, 2])
def test_tokenizing_keeps_order_and_drops_white_space(n_process):
    nlp = spacy.blank("en")
    texts = [f"It's  text {i}." for i in range(BATCH_TEXTS + 7)] + [" "]
    found = list(tokenize(texts, nlp.tokenizer, n_process))
    assert found == [["It", "'s", "text", str(i), "."] for i in range(len(texts) - 1)] + [[]]


def test_tokenizing_reads_no_further_than_needed():
    n_read = 0

    def read():
        nonlocal n_read
        for _ in range(100_000):
            n_read += 1
            yield "a text"

    words = tokenize(read(), spacy.blank("en").tokenizer, 1)
    next(words)
    assert n_read < 10_000
    words.close()
