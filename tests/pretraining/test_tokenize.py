from itertools import islice

import pytest
import spacy

from spacy_rnn.pretraining.tokenize import BATCH_TEXTS, tokenize


def test_words_pass_unchanged():
    texts = [["#a", "b c"], "#a b", ["d"], "f"]
    found = list(tokenize(texts, spacy.blank("en").tokenizer, 0))
    assert found == [["#a", "b c"], ["#", "a", "b"], ["d"], ["f"]]


def test_white_space_is_dropped():
    texts = ["It's  a text.", " ", "\n\n"]
    assert list(tokenize(texts, spacy.blank("en").tokenizer, 0)) == [
        ["It", "'s", "a", "text", "."],
        [],
        [],
    ]


@pytest.mark.parametrize("n_process", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_workers_keep_the_order_and_read_no_further_than_needed(n_process):
    n_read = 0

    def read():
        nonlocal n_read
        for i in range(100_000):
            n_read += 1
            yield f"text {i}" if i % 2 else ["text", str(i)]

    words = tokenize(read(), spacy.blank("en").tokenizer, n_process)
    n = 3 * BATCH_TEXTS
    assert list(islice(words, n)) == [["text", str(i)] for i in range(n)]
    assert n_read < 10_000
    words.close()
