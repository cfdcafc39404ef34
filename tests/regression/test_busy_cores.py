"""Torch's threads spin at the end of every parallel operation. Where the cores were busy, or fewer
than they looked, training ran at a tenth of the speed of one thread.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys

import pytest
import spacy
import torch
from spacy.tokens import Doc
from spacy.training import Example
from torch.utils._python_dispatch import TorchDispatchMode

from spacy_rnn.modules import cpus
from spacy_rnn.modules.workers import count_threads, one_torch_thread, run_tasks

WORDS = ["Ada", "lives", "in", "New", "York", "."]


# Share memory with another tensor or with numpy.
COMPUTE_NOTHING = {"aten.detach.default", "aten.lift_fresh.default"}


class CountThreads(TorchDispatchMode):
    """Remember on how many threads torch may run each operation."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func) not in COMPUTE_NOTHING:
            self.found.add(torch.get_num_threads())
        return func(*args, **(kwargs or {}))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def make_pipeline(factory):
    nlp = spacy.blank("xx")
    nlp.add_pipe(factory)
    gold = Doc(
        nlp.vocab,
        words=WORDS,
        tags=["NNP", "VBZ", "IN", "NNP", "NNP", "."],
        ents=["B-PER", "O", "O", "B-LOC", "I-LOC", "O"],
    )
    gold.cats = {"A": 1.0, "B": 0.0}
    examples = [Example(Doc(nlp.vocab, words=WORDS), gold)]
    return nlp, examples, nlp.initialize(lambda: examples)


@pytest.mark.parametrize("factory", ["rnn_tagger", "rnn_ner", "rnn_textcat"])
def test_training_keeps_torch_on_one_thread_and_gives_the_others_back(factory, two_threads):
    nlp, examples, optimizer = make_pipeline(factory)
    with CountThreads() as threads:
        nlp.update(examples, sgd=optimizer)
    assert threads.found == {1}
    assert torch.get_num_threads() == 2


def test_work_is_still_divided_among_threads_of_ours(two_threads, monkeypatch):
    monkeypatch.setattr("spacy_rnn.modules.workers.count_cpus", lambda: 2)
    with one_torch_thread():
        assert (torch.get_num_threads(), count_threads()) == (1, 2)
        assert run_tasks([count_threads] * 4) == [1] * 4
    assert (torch.get_num_threads(), count_threads()) == (2, 2)


def test_there_are_no_more_threads_than_cpus(two_threads, monkeypatch):
    monkeypatch.setattr("spacy_rnn.modules.workers.count_cpus", lambda: 1)
    assert count_threads() == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_affinity_counts():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cpus.count_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    "files, quota",
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_quotas_of_containers_are_read(files, quota, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpus.read_quota(tmp_path) == quota


@pytest.mark.parametrize("quota, n_cpus", [(0.5, 1), (1.5, 2), (64.0, 4), (None, 4)])
def test_quotas_count(quota, n_cpus, monkeypatch):
    monkeypatch.setattr(cpus, "get_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    assert cpus.count_cpus() == n_cpus


def fork(run):
    """What a function returns in a forked child."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(run()))
    child.start()
    result = queue.get(timeout=60)
    child.join(timeout=60)
    return result


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_forked_child_that_does_not_use_us_keeps_its_threads(two_threads):
    assert fork(torch.get_num_threads) == 2


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_forked_child_that_uses_us_does_not_wait_for_threads_it_does_not_have(two_threads):
    nlp, _, _ = make_pipeline("rnn_tagger")
    X = torch.randn(500, 500)
    (X @ X).sum()
    # Long enough that torch would divide the embedding among its threads.
    texts = [" ".join(WORDS) * 10] * 100

    def predict():
        return [[token.tag_ for token in doc] for doc in nlp.pipe(texts)]

    # The second time, all embeddings are kept already.
    expected = predict()
    assert fork(predict) == expected


TRAIN = """
import time
import spacy
from spacy.tokens import Doc
from spacy.training import Example

nlp = spacy.blank("xx")
nlp.add_pipe("{factory}")
words = "Ada lives in New York and works there with her two dogs .".split()
def make(i):
    chosen = words[i % 7 :] + words[: i % 7]
    gold = Doc(nlp.vocab, words=chosen, tags=[word[:2] for word in chosen],
               ents=["B-X" if word[0].isupper() else "O" for word in chosen])
    gold.cats = {{"A": float(i % 2), "B": float(1 - i % 2)}}
    return Example(Doc(nlp.vocab, words=chosen), gold)
examples = [make(i) for i in range({n_examples})]
optimizer = nlp.initialize(lambda: examples)
nlp.update(examples, sgd=optimizer)
start = time.perf_counter()
for _ in range({n_updates}):
    nlp.update(examples, sgd=optimizer, drop=0.2)
print(time.perf_counter() - start)
"""


def measure(code, **environ):
    """RETURNS (float): The seconds that a process of its own prints."""
    command = [sys.executable, "-c", code]
    return float(subprocess.check_output(command, env={**os.environ, **environ}, text=True))


@pytest.mark.slow
@pytest.mark.skipif(cpus.count_cpus() < 2, reason="needs two CPUs")
@pytest.mark.parametrize("n_examples, n_updates", [(1, 40), (80, 20)])
@pytest.mark.parametrize("factory", ["rnn_tagger", "rnn_ner", "rnn_textcat"])
def test_training_beside_busy_processes_takes_no_longer_than_on_one_thread(
    factory, n_examples, n_updates, capsys
):
    code = TRAIN.format(factory=factory, n_examples=n_examples, n_updates=n_updates)
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        times = [
            (measure(code, OMP_NUM_THREADS="2"), measure(code, OMP_NUM_THREADS="1"))
            for _ in range(3)
        ]
    finally:
        for loop in loops:
            loop.kill()
    ours, alone = (statistics.median(column) for column in zip(*times, strict=True))
    with capsys.disabled():
        print(f" {factory}, {n_examples} texts: {ours:.2f} s, on one thread {alone:.2f} s", end="")
    assert ours < 1.5 * alone


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_training_on_one_cpu_of_several_takes_no_longer_than_on_one_thread():
    code = TRAIN.format(factory="rnn_tagger", n_examples=80, n_updates=20)
    pin = f"import os\nos.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\n"
    times = [
        (measure(pin + code, OMP_NUM_THREADS="2"), measure(pin + code, OMP_NUM_THREADS="1"))
        for _ in range(3)
    ]
    ours, alone = (statistics.median(column) for column in zip(*times, strict=True))
    assert ours < 1.5 * alone
