"""What loads and predicts where torch is not installed."""

import json
import os
import subprocess
import sys

import numpy
import pytest

from spacy_rnn.kernels import INSTRUCTIONS

from .pipeline.test_rnn_lemmatizer import make_nlp as make_lemmatizer
from .pipeline.test_rnn_lm import make_nlp

# Before the first import: Python then refuses to import torch, and Thinc runs without it.
BLOCK = "import sys; sys.modules['torch'] = None\n"

LOAD_ALL = """
from importlib.metadata import distribution

import spacy
import spacy_rnn
from thinc.compat import has_torch

assert not has_torch
failed = {}
for entry in distribution("spacy-rnn").entry_points:
    try:
        entry.load()
    except ImportError as err:
        failed[entry.name] = str(err)
print(failed)
"""

PREDICT = """
import json
import spacy

nlp = spacy.load(sys.argv[1])
print(json.dumps([doc._.surprisals.tolist() for doc in nlp.pipe(sys.argv[2:])]))
"""

LEMMATIZE = """
import json
import spacy

nlp = spacy.load(sys.argv[1])
print(json.dumps([[token.lemma_ for token in doc] for doc in nlp.pipe(sys.argv[2:])]))
"""

RUN = """
from spacy.cli import app
import spacy_rnn.cli

app(sys.argv[1:])
"""
TEXTS = ["the cat is here .", "", "the old cats are unheard-of"]
needs_kernels = pytest.mark.skipif(INSTRUCTIONS is None, reason="there are no compiled kernels")


def run_without_torch(code, *args):
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code, *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )


def test_all_entry_points_load():
    result = run_without_torch(LOAD_ALL)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "{}"


@needs_kernels
@pytest.mark.parametrize("softmax", ["adaptive", "tied"])
@pytest.mark.parametrize("directions", ["forward", "both"])
def test_surprisals_are_the_same(tmp_path, softmax, directions):
    nlp = make_nlp(softmax, directions)
    nlp.to_disk(tmp_path)
    result = run_without_torch(PREDICT, tmp_path, *TEXTS)
    assert result.returncode == 0, result.stderr
    for found, doc in zip(json.loads(result.stdout), nlp.pipe(TEXTS), strict=True):
        numpy.testing.assert_allclose(found, doc._.surprisals, rtol=1e-6, atol=1e-6)


@needs_kernels
def test_lemmas_are_the_same(tmp_path):
    nlp = make_lemmatizer(steps=30, use_table=False, use_edits=False, threshold=0.0)
    nlp.to_disk(tmp_path)
    result = run_without_torch(LEMMATIZE, tmp_path, *TEXTS)
    assert result.returncode == 0, result.stderr
    expected = [[token.lemma_ for token in doc] for doc in nlp.pipe(TEXTS)]
    assert json.loads(result.stdout) == expected
    result = run_without_torch(RUN, "rnn", "attention", tmp_path, "cats")
    assert "cats →" in result.stdout, result.stderr


@needs_kernels
def test_commands_run_or_say_what_they_need(tmp_path):
    make_nlp().to_disk(tmp_path / "model")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    result = run_without_torch(RUN, "rnn", "info")
    assert "not installed" in result.stdout, result.stderr
    result = run_without_torch(
        RUN, "rnn", "evaluate-lm", tmp_path / "model", tmp_path / "texts.txt"
    )
    assert "Perplexity" in result.stdout, result.stderr
    result = run_without_torch(RUN, "rnn", "generate", tmp_path / "model")
    assert (result.returncode, "pip install torch" in result.stdout) == (1, True), result.stderr
    config = tmp_path / "model" / "config.cfg"
    result = run_without_torch(RUN, "rnn", "pretrain", config, tmp_path / "output")
    assert (result.returncode, "pip install torch" in result.stdout) == (1, True), result.stderr
