"""What the tests share: a small corpus, pipelines trained on it, the order of tests, and where the
real data is.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import spacy
import torch
from hypothesis import settings
from spacy.cli import app
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry
from thinc.api import Adam, Config, fix_random_seed, require_cpu
from typer.main import get_command

from spacy_rnn.kernels import INSTRUCTIONS

settings.register_profile("spacy-rnn", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("spacy-rnn")

ROOT = Path(__file__).parent.parent
# Cheap tests first. Folders that are not here come in between, with the files of this one.
FIRST = ("kernels", "modules", "layers", "architectures")
LAST = ("pretraining", "probing", "cli", "projects", "docs")

SENTENCES = [
    ("The/DT cat/NN sat/VBD ./."),
    ("Dogs/NNS bark/VBP loudly/RB at/IN the/DT old/JJ postman/NN ./."),
    ("She/PRP sings/VBZ ./."),
    ("Stop/VB !/."),
    ("In/IN Paris/NNP ,/, two/CD birds/NNS sang/VBD sweetly/RB ./."),
    ("He/PRP saw/VBD the/DT sea/NN and/CC smiled/VBD ./."),
]

SMALL_TAGGER = """
[model]
@architectures = "spacy.Tagger.v2"

[model.tok2vec]
@architectures = "spacy.Tok2Vec.v2"

[model.tok2vec.embed]
@architectures = "spacy-rnn.LexemeEmbed.v1"
width = 16
attrs = ["NORM", "SHAPE"]
rows = [50, 50]
attr_widths = [8, 4]
affix_rows = 50
affix_width = 4
ngram_rows = 100
ngram_width = 8

[model.tok2vec.encode]
@architectures = "spacy-rnn.RNNEncoder.v1"
width = 16
depth = 2
"""


SMALL_BILM = """
[components.bilm]
factory = "bilm"

[components.bilm.model]
@architectures = "spacy-rnn.BiLM.v1"
width = 16
depth = 2
cutoffs = [10]

[components.bilm.model.embed]
@architectures = "spacy-rnn.LexemeEmbed.v1"
width = 16
attrs = ["LOWER", "SHAPE"]
rows = [50, 50]
attr_widths = [16, 4]
affix_rows = 20
affix_width = 4
ngram_rows = 100
ngram_width = 8
"""


def load_script(path):
    """Import a project's script, which is no module of the package."""
    spec = importlib.util.spec_from_file_location(f"{path.parts[-3]}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run_spacy(*args):
    """Run `python -m spacy ...` in this process: a new one would import torch again."""
    # Loads the commands of other packages.
    registry.cli.get_all()
    command = [str(arg) for arg in args]
    get_command(app).main(command, prog_name="python -m spacy", standalone_mode=False)


def make_docs(nlp, sentences=SENTENCES):
    """Docs with gold tokens and tags."""
    docs = []
    for sentence in sentences:
        words, tags = zip(*(token.rsplit("/", 1) for token in sentence.split()), strict=True)
        docs.append(Doc(nlp.vocab, words=list(words), tags=list(tags)))
    return docs


def make_examples(nlp, sentences=SENTENCES):
    return [
        Example(Doc(nlp.vocab, words=[t.text for t in doc]), doc)
        for doc in make_docs(nlp, sentences)
    ]


def train_component(factory, config, make_examples, *, steps, seed=0, learn_rate=0.01):
    """A pipeline with one component, trained for so many steps."""
    fix_random_seed(seed)
    # Most of the time goes into making a tokenizer. "en" takes four times as long.
    nlp = spacy.blank("xx")
    nlp.add_pipe(factory, config=config)
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    optimizer = Adam(learn_rate)
    for _ in range(steps):
        nlp.update(examples, sgd=optimizer)
    return nlp


def make_tok2vec():
    """The config of a small embedding layer and encoder."""
    return Config().from_str(SMALL_TAGGER)["model"]["tok2vec"]


def make_nlp(config=SMALL_TAGGER, steps=0, seed=0, **settings):
    """A pipeline with a small rnn_tagger, trained for a few steps."""
    model = Config().from_str(config)["model"] if isinstance(config, str) else config
    settings = {"model": model, **settings}
    return train_component("rnn_tagger", settings, make_examples, steps=steps, seed=seed)


def assert_gradient(param, get_loss):
    """Hold the largest element of a parameter's gradient against the numeric one."""
    place = divmod(int(param.grad.abs().argmax()), param.shape[1])
    losses = []
    for step in (-1e-2, 1e-2):
        with torch.no_grad():
            param[place] += step
            losses.append(get_loss())
            param[place] -= step
    numeric = (losses[1] - losses[0]) / 2e-2
    assert param.grad[place].item() == pytest.approx(numeric, rel=0.05)


@pytest.fixture(autouse=True)
def enough_cpus(monkeypatch):
    """Tests that set torch's threads get as many, however few CPUs the machine has."""
    monkeypatch.setattr("spacy_rnn.modules.workers.count_cpus", lambda: 4)


@pytest.fixture
def nlp():
    return make_nlp(steps=3)


@pytest.fixture(scope="session")
def trained_nlp():
    """A pipeline that has learned its corpus. Not to be changed."""
    return make_nlp(steps=80)


@pytest.fixture
def data_dir():
    """The directory of real data that the variable SPACY_RNN_DATA names."""
    path = os.environ.get("SPACY_RNN_DATA")
    if not path or not Path(path).is_dir():
        pytest.skip("needs real data: set SPACY_RNN_DATA to its directory")
    return Path(path)


def pytest_sessionstart():
    if INSTRUCTIONS is None and os.environ.get("SPACY_RNN_KERNELS") != "none":
        pytest.exit(
            "spacy-rnn has no compiled kernels: install it where there is GCC or Clang. To test it "
            "without, set SPACY_RNN_KERNELS=none.",
            returncode=1,
        )


@pytest.fixture
def exact_gpu(monkeypatch):
    """For tests that move to the GPU: full precision there and on the CPU, and the CPU again
    afterwards.
    """
    monkeypatch.setattr("spacy_rnn.kernels.HAS_INT8", False)
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    yield
    for backend, allow_tf32 in zip(backends, before, strict=True):
        backend.allow_tf32 = allow_tf32
    require_cpu()


def get_order(item):
    """RETURNS (int): Where a test's folder comes in the suite."""
    folder = item.path.relative_to(ROOT / "tests").parts[0]
    if folder in FIRST:
        return FIRST.index(folder) - len(FIRST)
    return 1 + LAST.index(folder) if folder in LAST else 0


def pytest_collection_modifyitems(items):
    items.sort(key=get_order)
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
