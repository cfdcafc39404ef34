import gzip
import lzma

import pytest
import srsly

from spacy_rnn.pretraining.text_files import find_files, read_texts

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
        ("a.txt.xz", b"no xz", "Is the file complete"),
        ("a.txt.gz", b"no gz", "Is the file complete"),
        ("a.txt.xz", lzma.compress(b"text\n" * 10000)[:-40], "Is the file complete"),
        ("a.txt.gz", gzip.compress(b"text\n" * 10000)[:-20], "Is the file complete"),
        ("a.jsonl", b'{"text": "good"}\n{"text": "bad\n', "line 2.*not JSON"),
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
    with pytest.raises(ValueError, match=r"no \.txt or \.jsonl files"):
        find_files(tmp_path)
