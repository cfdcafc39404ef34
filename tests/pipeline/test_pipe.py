"""How our components stream Docs."""

import threading
import time
import tracemalloc

import numpy
import pytest
import spacy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import PyTorchShim

from spacy_rnn.pipeline import read_ahead
from spacy_rnn.pipeline.read_ahead import TOKEN_BUDGET, may_share, predict_ahead, read_windows

from ..conftest import make_nlp
from ..test_registry import POINTS
from .test_rnn_tagger import get_tags

TEXTS = [
    "The cat sat.", "", "Dogs bark loudly at the old postman.", " \n ", "Stop!",
    "In Paris, two birds sang sweetly.", "x", "He saw the sea and smiled. She sings. Stop it now.",
]  # fmt: skip


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 40))
def test_windows_keep_order_and_stay_within_budget(lengths, budget):
    vocab = Vocab()
    docs = [Doc(vocab, words=["a"] * n) for n in lengths]
    windows = list(read_windows(iter(docs), budget))
    assert [doc for window in windows for doc in window] == docs
    for window in windows:
        assert window
        assert sum(max(len(doc), 1) for doc in window[:-1]) < budget


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 99), st.integers(1, 4))
def test_windows_for_threads_start_small_and_end_together(lengths, budget, n_ahead):
    vocab = Vocab()
    docs = [Doc(vocab, words=["a"] * n) for n in lengths]
    windows = list(read_windows(iter(docs), budget, n_ahead, min_tokens=10))
    assert [doc for window in windows for doc in window] == docs
    sizes = [sum(max(len(doc), 1) for doc in window) for window in windows]
    assert all(sizes)
    limit, full = min(10, budget), 0
    while full < len(sizes) and sizes[full] >= limit:
        assert sizes[full] - max(len(windows[full][-1]), 1) < limit
        limit, full = min(2 * limit, budget), full + 1
    # What is left is for all threads, if there is enough of it.
    rest = sizes[full:]
    assert len(rest) <= n_ahead
    assert sum(rest) < limit
    if len(rest) > 1:
        assert sum(rest) >= 10 * len(rest)
        assert max(rest) - min(rest) < 2 * 9


def test_nothing_is_read_ahead_with_batch_size_one(trained_nlp):
    consumed = []

    def stream():
        for text in TEXTS:
            consumed.append(text)
            yield text

    for n, doc in enumerate(trained_nlp.pipe(stream(), batch_size=1), start=1):
        assert len(consumed) == n
        assert doc.text == TEXTS[n - 1]


def test_a_window_is_wide_whatever_the_batch_size(trained_nlp, monkeypatch):
    pipe = trained_nlp.get_pipe("rnn_tagger")
    sizes = []
    predict = type(pipe).predict
    monkeypatch.setattr(
        type(pipe), "predict", lambda self, docs: sizes.append(len(docs)) or predict(self, docs)
    )
    list(trained_nlp.pipe(TEXTS * 10, batch_size=2))
    assert sizes == [80]


@given(st.lists(st.integers(1, 9), max_size=20), st.integers(0, 3))
def test_windows_are_predicted_ahead_in_order(sizes, n_ahead):
    vocab = Vocab()
    windows = [[Doc(vocab, words=["a"] * size)] for size in sizes]
    read = []

    def predict(docs):
        if len(docs[0]) == 7:
            raise ValueError("seven")
        return len(docs[0]), threading.current_thread()

    stream = (read.append(window) or window for window in windows)
    for i, (window, get) in enumerate(predict_ahead(predict, stream, n_ahead, min_tokens=5)):
        assert window is windows[i]
        # No more are kept than may be computed, and the one that is waited for.
        assert len(read) <= i + 1 + n_ahead
        if sizes[i] == 7:
            with pytest.raises(ValueError, match="seven"):
                get()
            continue
        size, thread = get()
        assert size == sizes[i]
        # Where no thread has anything to do, a small window gets all of them.
        in_threads = n_ahead > 0 and max(sizes[: i + 1]) >= 5
        assert (thread is not threading.current_thread()) == in_threads
    assert read == windows


def test_nothing_goes_on_when_the_rest_is_not_wanted():
    vocab, ended = Vocab(), []

    def predict(docs):
        time.sleep(0.05)
        ended.append(docs)

    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        windows = predict_ahead(predict, [[Doc(vocab, words=["a"])] for _ in range(9)], 2)
        next(windows)
        windows.close()
        n_ended = len(ended)
        time.sleep(0.2)
    finally:
        torch.set_num_threads(n_threads)
    assert len(ended) == n_ended


@pytest.mark.parametrize("n_ahead", [0, 2])
def test_what_was_read_comes_before_an_error_of_the_source(n_ahead):
    vocab = Vocab()

    def source():
        for _ in range(3):
            yield [Doc(vocab, words=["a"])]
        raise OSError("disk")

    windows = predict_ahead(len, source(), n_ahead)
    assert [next(windows)[1]() for _ in range(3)] == [1, 1, 1]
    with pytest.raises(OSError, match="disk"):
        next(windows)


def test_threads_do_not_share_what_may_not_be_shared():
    nlp = make_nlp()
    model = nlp.get_pipe("rnn_tagger").model
    assert may_share(model)
    model.get_ref("tok2vec").layers[-1].shims.append(PyTorchShim(torch.nn.Linear(1, 1)))
    assert not may_share(model)


FACTORIES = [point.name for point in POINTS if point.group == "spacy_factories"]


@pytest.mark.parametrize("factory", FACTORIES)
def test_threads_share_the_models_of_our_components(factory):
    assert may_share(spacy.blank("xx").create_pipe(factory).model)


@pytest.mark.parametrize("batch_size, is_ahead", [(1, False), (64, True)])
def test_threads_predict_what_one_does(trained_nlp, monkeypatch, batch_size, is_ahead):
    monkeypatch.setattr(read_ahead, "TOKEN_BUDGET", 20)
    monkeypatch.setattr(read_ahead, "MIN_TOKENS", 5)
    threads = set()
    pipe = trained_nlp.get_pipe("rnn_tagger")
    predict = type(pipe).predict
    monkeypatch.setattr(
        type(pipe),
        "predict",
        lambda self, docs: threads.add(threading.get_ident()) or predict(self, docs),
    )
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        docs = list(trained_nlp.pipe(TEXTS * 20, batch_size=batch_size))
        assert (threads != {threading.get_ident()}) == is_ahead
        torch.set_num_threads(1)
        threads.clear()
        expected = list(trained_nlp.pipe(TEXTS * 20, batch_size=batch_size))
        assert threads == {threading.get_ident()}
    finally:
        torch.set_num_threads(n_threads)
    for doc, other in zip(docs, expected, strict=True):
        assert [token.tag_ for token in doc] == [token.tag_ for token in other]


@settings(max_examples=10)
@given(st.permutations(TEXTS), st.sampled_from([1, 2, 3, 1000]), st.sampled_from([1, 7, 10_000]))
def test_scores_do_not_depend_on_the_batch(trained_nlp, texts, batch_size, budget):
    pipe = trained_nlp.get_pipe("rnn_tagger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_ahead, "TOKEN_BUDGET", budget)
        docs = list(trained_nlp.pipe(texts, batch_size=batch_size))
    assert [doc.text for doc in docs] == texts
    for doc, together in zip(docs, pipe.model.predict(docs), strict=True):
        alone = pipe.model.predict([doc])[0]
        numpy.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)
        assert [t.tag_ for t in trained_nlp(doc.text)] == [t.tag_ for t in doc]


def test_error_handlers_get_the_batch_that_failed(nlp, monkeypatch):
    pipe = nlp.get_pipe("rnn_tagger")
    predict = type(pipe).predict

    def fail(self, docs):
        if any(doc.text == "Stop!" for doc in docs):
            raise ValueError("stopped")
        return predict(self, docs)

    monkeypatch.setattr(type(pipe), "predict", fail)
    with pytest.raises(ValueError, match="stopped"):
        list(nlp.pipe(TEXTS))
    failed = []
    nlp.set_error_handler(lambda name, proc, docs, err: failed.append((name, docs, str(err))))
    survivors = [doc.text for doc in nlp.pipe(TEXTS, batch_size=2)]
    assert survivors == TEXTS[:4] + TEXTS[6:]
    assert [(n, [d.text for d in docs], e) for n, docs, e in failed] == [
        ("rnn_tagger", TEXTS[4:6], "stopped")
    ]


@pytest.mark.parametrize("texts", [[""], ["", ""], ["", "The cat.", ""], ["The cat.", ""], [" "]])
def test_empty_docs(trained_nlp, texts):
    docs = list(trained_nlp.pipe(texts))
    assert [doc.text for doc in docs] == texts
    assert all(t.tag_ for doc in docs for t in doc)


def test_huge_docs_and_tokens_in_bounded_memory(trained_nlp):
    vocab = trained_nlp.vocab
    huge = Doc(vocab, words=["The", "cat", "sat", "down", "."] * 10_000)
    long = Doc(vocab, words=["The", "x" * 100_000, "sat"])
    tracemalloc.start()
    docs = list(trained_nlp.pipe([huge, long], batch_size=2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(t.tag_ for doc in docs for t in doc)
    assert peak < 200e6
    assert len(huge) > TOKEN_BUDGET


def test_spans_of_tokens_in_many_processes_right_after_training():
    # Torch's threads do not survive the fork: this used to wait for them for ever.
    nlp = make_nlp(steps=2)
    texts = TEXTS * 5
    expected = get_tags(nlp, [nlp.make_doc(text) for text in texts])
    result = []

    def run():
        result.extend([t.tag_ for t in doc] for doc in nlp.pipe(texts, n_process=2, batch_size=7))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=120)
    assert not thread.is_alive(), "nlp.pipe(n_process=2) hangs"
    assert result == expected


@pytest.mark.slow
def test_processes_under_spawn(tmp_path, trained_nlp):
    import subprocess
    import sys

    trained_nlp.to_disk(tmp_path / "pipeline")
    script = tmp_path / "run.py"
    script.write_text(
        "import multiprocessing, spacy, sys\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    nlp = spacy.load(sys.argv[1])\n"
        "    docs = nlp.pipe(['The cat sat.'] * 20, n_process=2, batch_size=5)\n"
        "    print([t.tag_ for doc in docs for t in doc] == ['DT', 'NN', 'VBD', '.'] * 20)\n"
    )
    run = subprocess.run(
        [sys.executable, script, tmp_path / "pipeline"], capture_output=True, text=True, timeout=300
    )
    assert run.stdout.strip() == "True", run.stderr


def test_threads_share_a_pipeline(trained_nlp):
    texts = [f"{text} {i}" for i in range(250) for text in TEXTS]
    expected = [[t.tag_ for t in doc] for doc in trained_nlp.pipe(texts)]
    results = {}

    def run(n):
        part = slice(n * 250, (n + 1) * 250)
        results[n] = [[t.tag_ for t in doc] for doc in trained_nlp.pipe(texts[part])]

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [tags for n in range(8) for tags in results[n]] == expected


def test_memory_zone(trained_nlp):
    with trained_nlp.memory_zone():
        tags = [[t.tag_ for t in doc] for doc in trained_nlp.pipe(["Zoned qwertyish words."] * 3)]
    assert tags[0] == tags[1] == tags[2]


@pytest.mark.slow
def test_memory_stays_flat_over_a_long_stream(trained_nlp):
    def rss():
        with open("/proc/self/statm") as file_:
            return int(file_.read().split()[1]) * 4096 / 1e6

    def stream(start):
        for i in range(start, start + 20_000):
            yield f"The cat {i % 1000} sat on the old postman in Paris."

    sizes = []
    for part in range(6):
        with trained_nlp.memory_zone():
            for _ in trained_nlp.pipe(stream(part), batch_size=500):
                pass
        sizes.append(rss())
    assert sizes[-1] < sizes[1] + 30, sizes
