from spacy_rnn.pretraining import vocabulary
from spacy_rnn.pretraining.vocabulary import Counts, count_words


def test_the_vocabulary_is_sorted_by_frequency_then_alphabet(tmp_path):
    counts = count_words([["b", "a", "c"], [], ["c", "</s>", "<unk>"]], 5, [["a.txt", 3]])
    assert counts.vocabulary == ["</s>", "<unk>", "c", "a", "b"]
    assert (counts.n_texts, counts.n_words) == (2, 6)
    assert count_words([["b", "a", "c"]], 3).vocabulary[2:] == ["a"]
    counts.save(tmp_path / "counts.json")
    assert Counts.load(tmp_path / "counts.json") == counts


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(vocabulary, "MAX_COUNTED", 3)
    counts = count_words([["a", "a"], ["b", "c"], ["d"], ["e", "a"]], 9)
    assert counts.vocabulary[2:] == ["a", "e"]
    assert counts.n_words == 7
