import numpy
from hypothesis import example, given
from hypothesis import strategies as st

from spacy_rnn.modules.embed.subword import hash_subwords, mix_hash

WORDS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=8)


def split_ngrams(subwords):
    return [set(part.tolist()) for part in numpy.split(subwords.ngrams, subwords.starts[1:])]


def python_ngrams(word, sizes):
    marked = ["<", *word, ">"]
    return {tuple(marked[i : i + size]) for size in sizes for i in range(len(marked) - size + 1)}


@given(WORDS)
@example(["a", "aa", "a"])
@example(["\ud800", "\U0001f600"])
def test_words_share_the_hashes_of_the_ngrams_they_share(words):
    sizes = [2, 3, 5]
    hashed = split_ngrams(hash_subwords(words, sizes, [], [], 128))
    expected = [python_ngrams(word, sizes) for word in words]
    for i in range(len(words)):
        assert len(hashed[i]) == len(expected[i])
        for j in range(i):
            assert len(hashed[i] & hashed[j]) == len(expected[i] & expected[j])


@given(WORDS)
def test_words_share_the_hashes_of_the_affixes_they_share(words):
    affixes = hash_subwords(words, [3], [1, 2], [1, 3], 128).affixes
    for i in range(len(words)):
        for j in range(i):
            same = [(words[i] + "\0")[: n + 1] == (words[j] + "\0")[: n + 1] for n in (0, 1)]
            for column, n in ((0, 1), (1, 2)):
                whole = len(words[i]) < n or len(words[j]) < n
                equal = words[i] == words[j] if whole else words[i][:n] == words[j][:n]
                assert (affixes[i, column] == affixes[j, column]) == equal, same
            for column, n in ((2, 1), (3, 3)):
                whole = len(words[i]) < n or len(words[j]) < n
                equal = words[i] == words[j] if whole else words[i][-n:] == words[j][-n:]
                assert (affixes[i, column] == affixes[j, column]) == equal


def test_a_word_hashes_the_same_alone_and_among_others():
    among = hash_subwords(["some", "word", "here"], [2, 4], [2], [2], 128)
    alone = hash_subwords(["word"], [2, 4], [2], [2], 128)
    assert split_ngrams(among)[1] == split_ngrams(alone)[0]
    assert among.affixes[1].tolist() == alone.affixes[0].tolist()


def test_long_words_are_read_at_both_ends():
    long = hash_subwords(["a" * 100_000 + "b"], [3], [2], [2], 128)
    assert len(long.ngrams) == 128
    assert long.affixes[0, 1] == hash_subwords(["xab"], [3], [2], [2], 128).affixes[0, 1]


def test_mixed_hashes_are_even_and_independent():
    values = numpy.arange(20_000, dtype=numpy.uint64)
    for salt in (0, 1):
        counts = numpy.bincount((mix_hash(values, salt) % numpy.uint64(100)).astype(int))
        assert counts.min() > 120 and counts.max() < 290
    assert (mix_hash(values, 0) != mix_hash(values, 1)).all()
