import gzip
import lzma
from itertools import pairwise

import pytest
import spacy
import srsly
from hypothesis import given
from hypothesis import strategies as st

from spacy_rnn.modules.lm.language_model import NO_TARGET, Vocabulary
from spacy_rnn.pretraining.batches import LMBatcher
from spacy_rnn.pretraining.text_files import find_files, read_texts
from spacy_rnn.pretraining.tokenize import BATCH_TEXTS, tokenize
from spacy_rnn.pretraining.vocabulary import count_words

TEXTS = ["The first text.", "Ünïcode, 文字 🎉", "The last"]


def write_all(directory):
    lines = "\n\n".join(TEXTS).encode("utf8")
    records = "\n".join(srsly.json_dumps({"text": text, "n": 1}) for text in TEXTS).encode("utf8")
    (directory / "a.txt").write_bytes(lines)
    (directory / "b.txt.gz").write_bytes(gzip.compress(lines))
    (directory / "c.txt.xz").write_bytes(lzma.compress(lines))
    (directory / "d.jsonl").write_bytes(records)
    (directory / "e.jsonl.xz").write_bytes(lzma.compress(records))
    (directory / "notes.md").write_text("no text of ours")


def test_all_formats_hold_the_same_texts(tmp_path):
    write_all(tmp_path)
    files = find_files(tmp_path)
    assert [file.name[0] for file in files] == list("abcde")
    for file in files:
        assert list(read_texts([file])) == TEXTS
    assert list(read_texts(files)) == TEXTS * 5
    assert find_files(tmp_path / "notes.md") == [tmp_path / "notes.md"]


def test_words_may_be_tokenized_already(tmp_path):
    path = tmp_path / "words.jsonl"
    records = [{"tokens": ["#a", "b c", " "]}, {"text": "#a b"}, {"tokens": []}]
    both = [{"tokens": ["d"], "text": "e"}, {"tokens": [{"text": "f"}], "text": "f"}]
    srsly.write_jsonl(path, [*records, *both])
    texts = list(read_texts([path]))
    assert texts == [["#a", "b c"], "#a b", ["d"], "f"]
    for n_process in (0, 1):
        found = list(tokenize(texts, spacy.blank("en").tokenizer, n_process))
        assert found == [["#a", "b c"], ["#", "a", "b"], ["d"], ["f"]]


def test_reading_is_lazy(tmp_path):
    good, bad = tmp_path / "a.txt", tmp_path / "b.txt"
    good.write_text("one\ntwo\n")
    bad.write_bytes(b"\xff\xff")
    texts = read_texts([good, bad])
    assert [next(texts), next(texts)] == ["one", "two"]
    with pytest.raises(ValueError, match=r"b\.txt"):
        next(texts)


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.txt", b"", "it has none"),
        ("a.txt", b"  \n\n", "it has none"),
        ("a.txt", b"good\nb\xffd\n", "line 2.*UTF-8"),
        ("a.txt.xz", b"no xz", "Is the file whole"),
        ("a.txt.gz", b"no gz", "Is the file whole"),
        ("a.txt.xz", lzma.compress(b"text\n" * 10000)[:-40], "Is the file whole"),
        ("a.txt.gz", gzip.compress(b"text\n" * 10000)[:-20], "Is the file whole"),
        ("a.jsonl", b'{"text": "good"}\n{"text": "bad\n', "line 2.*no JSON"),
        ("a.jsonl", b'{"texts": "bad"}\n', 'line 1.*string under "text"'),
        ("a.jsonl", b"[1]\n", "line 1"),
        ("a.jsonl", b'{"tokens": ["good", 1]}\n', 'line 1.*list of strings under "tokens"'),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, wanted):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s){name}.*{wanted}"):
        list(read_texts([path]))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        find_files(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no files"):
        find_files(tmp_path)


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


def test_vocabulary_is_by_frequency_then_alphabet():
    counts = count_words([["b", "a", "c"], [], ["c", "</s>", "<unk>"]], 5)
    assert counts.vocabulary == ["</s>", "<unk>", "c", "a", "b"]
    assert (counts.n_texts, counts.n_words) == (2, 6)
    assert count_words([["b", "a", "c"]], 3).vocabulary[2:] == ["a"]


TEXT_LISTS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=7), min_size=1, max_size=12)


@given(TEXT_LISTS, st.integers(1, 4), st.integers(1, 5), st.integers(1, 2))
def test_every_word_is_predicted_once_after_the_one_before(texts, n_rows, n_steps, n_directions):
    vocabulary = Vocabulary(["</s>", "<unk>", *"abcd"])
    batcher = LMBatcher(vocabulary, n_rows, n_steps, n_directions)
    rows = [[[] for _ in range(n_rows)] for _ in range(n_directions)]
    total = 0
    for batch in batcher.get_batches(texts, to_end=True):
        assert batch.inputs.shape == batch.targets.shape == (n_directions, n_steps, n_rows)
        names = ["</s>", *batch.words]
        total += batch.n_targets
        for direction in range(n_directions):
            for row in range(n_rows):
                for step in range(n_steps):
                    target = int(batch.targets[direction, step, row])
                    if target != NO_TARGET:
                        word = names[batch.inputs[direction, step, row]]
                        rows[direction][row].append((word, target))
    assert total == sum(len(text) + 1 for text in texts if text)
    for direction, turn in zip(range(n_directions), (1, -1), strict=False):
        read = []
        for pairs in rows[direction]:
            for (_, target), (word, _) in pairwise(pairs):
                assert target == (0 if word == "</s>" else vocabulary.get_ids([word])[0])
            text = []
            for word, _ in [*pairs[1:], ("</s>", 0)] if pairs else []:
                if word == "</s>":
                    read.append(text[::turn])
                    text = []
                else:
                    text.append(word)
        assert sorted(read) == sorted(text for text in texts if text)


@given(TEXT_LISTS, st.integers(1, 5))
def test_a_batcher_goes_on_where_another_was(texts, n_done):
    texts = [text * 3 for text in texts] * 3
    vocabulary = Vocabulary(["</s>", "<unk>", *"abcd"])
    whole = list(LMBatcher(vocabulary, 2, 3, 2).get_batches(texts))
    first = LMBatcher(vocabulary, 2, 3, 2)
    done = [batch for _, batch in zip(range(n_done), first.get_batches(texts), strict=False)]
    second = LMBatcher(vocabulary, 2, 3, 2)
    second.set_state(srsly.json_loads(srsly.json_dumps(first.get_state())))
    rest = list(second.get_batches(texts[second.n_texts :]))
    assert len(done) + len(rest) == len(whole)
    for ours, theirs in zip([*done, *rest], whole, strict=True):
        assert ours.words == theirs.words
        assert (ours.inputs == theirs.inputs).all()
        assert (ours.targets == theirs.targets).all()
