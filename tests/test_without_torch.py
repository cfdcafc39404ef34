"""What loads and predicts where torch is not installed."""

import os
import subprocess
import sys

import pytest
from thinc.api import Config

from spacy_rnn.kernels import INSTRUCTIONS

from .pipeline.test_rnn_lm import make_nlp as make_lm
from .pretraining.conftest import CONFIG

# Before the first import: Python then refuses to import torch, and Thinc runs without it.
BLOCK = "import sys; sys.modules['torch'] = None\n"

LOAD_ALL = """
from importlib.metadata import entry_points

import spacy
import spacy_rnn
from thinc.compat import has_torch

assert not has_torch
failed = {}
for entry in entry_points():
    if entry.value.startswith("spacy_rnn."):
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

RUN = """
from spacy.cli import app
import spacy_rnn.cli

app()
"""


def run_without_torch(code, *args):
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code, *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_all_entry_points_load():
    result = run_without_torch(LOAD_ALL)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "{}"
