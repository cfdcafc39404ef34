import math
import pickle

import numpy
import pytest
import spacy
from spacy.training import Example
from thinc.api import Config, fix_random_seed

from spacy_rnn.kernels import INSTRUCTIONS
from spacy_rnn.layers.lm import Scorer, set_vocabulary
from spacy_rnn.layers.torch_shim import get_shim
from spacy_rnn.modules.rnn.cells import CELLS

CONFIG = """
[nlp]
lang = "xx"
pipeline = ["rnn_lm"]

[components]

[components.rnn_lm]
factory = "rnn_lm"

[components.rnn_lm.model]
@architectures = "spacy-rnn.BiLM.v1"
width = 32
depth = 2
cutoffs = [4]
directions = "DIRECTIONS"
softmax = "SOFTMAX"

[components.rnn_lm.model.embed]
@architectures = "spacy-rnn.LexemeEmbed.v1"
width = 32
rows = [50, 50, 50, 50]
"""
VOCABULARY = ["</s>", "<unk>", "the", "cat", "cats", "is", "are", "here", "old", "."]


def make_nlp(
    softmax="adaptive", directions="forward", with_vocabulary=True, cell="lstm", hidden=None
):
    fix_random_seed(0)
    text = CONFIG.replace("DIRECTIONS", directions).replace("SOFTMAX", softmax)
    settings = {"components.rnn_lm.model.cell": cell, "components.rnn_lm.model.hidden": hidden}
    config = Config().from_str(text, overrides=settings)
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    model = nlp.get_pipe("rnn_lm").model
    model.initialize()
    if with_vocabulary:
        set_vocabulary(model, VOCABULARY)
    return nlp


@pytest.fixture(scope="module", params=["adaptive", "tied"])
def nlp(request):
    return make_nlp(request.param)


def test_surprisal_is_in_bits_and_perplexity_its_mean(nlp):
    doc = nlp("the  cats are here now .")
    scorer = Scorer(nlp.get_pipe("rnn_lm").model, nlp.vocab)
    logs = scorer.get_log_probs([["the", "cats", "are", "here", "now", "."]])[0]
    words = [token for token in doc if not token.is_space]
    assert len(words) == len(doc) - 1
    for token, log in zip(words, logs, strict=False):
        assert math.isclose(token._.surprisal, -log / math.log(2), rel_tol=1e-5)
    assert doc[1].is_space
    assert doc[1]._.surprisal == 0.0
    total = sum(token._.surprisal for token in doc)
    assert math.isclose(doc._.perplexity, 2 ** (total / 6), rel_tol=1e-5)
    assert math.isclose(doc[:3]._.surprisal, sum(t._.surprisal for t in doc[:3]), rel_tol=1e-5)


def test_surprisals_do_not_depend_on_what_comes_later_or_beside(nlp):
    texts = ["the cat is here .", "", "the cat", " ", "old old old cats are here " * 9]
    together = list(nlp.pipe(texts))
    for doc, text in zip(together, texts, strict=True):
        assert numpy.allclose(doc._.surprisals, nlp(text)._.surprisals, atol=1e-4)
    assert numpy.allclose(together[0]._.surprisals[:2], together[2]._.surprisals, atol=1e-4)
    assert together[1]._.perplexity is None
    assert together[3]._.perplexity is None
    assert nlp.make_doc("the")[0]._.surprisal is None
    assert nlp.make_doc("the")[:]._.surprisal is None


@pytest.mark.parametrize("softmax", ["adaptive", "tied"])
@pytest.mark.parametrize("how", ["disk", "bytes", "pickle"])
def test_what_is_loaded_predicts_the_same(tmp_path, how, softmax):
    nlp = make_nlp(softmax)
    if how == "disk":
        nlp.to_disk(tmp_path)
        twin = spacy.load(tmp_path)
    elif how == "bytes":
        twin = make_nlp(softmax, with_vocabulary=False).from_bytes(nlp.to_bytes())
    else:
        twin = pickle.loads(pickle.dumps(nlp))
    text = "the old cat is here ."
    assert numpy.array_equal(nlp(text)._.surprisals, twin(text)._.surprisals)
    assert twin.get_pipe("rnn_lm").vocabulary == VOCABULARY


def test_weights_are_needed_and_loaded(tmp_path):
    nlp = make_nlp()
    nlp.to_disk(tmp_path / "lm")
    twin = make_nlp(with_vocabulary=False)
    with pytest.raises(ValueError, match="spacy rnn pretrain"):
        twin("the cat")
    with pytest.raises(ValueError, match="set weights"):
        twin.get_pipe("rnn_lm").initialize(lambda: [])
    twin.get_pipe("rnn_lm").initialize(lambda: [], weights=tmp_path / "lm")
    assert numpy.array_equal(nlp("the cat")._.surprisals, twin("the cat")._.surprisals)


def test_training_leaves_it_as_it_is():
    nlp = make_nlp()
    before = nlp("the cat is here")._.surprisals
    example = Example.from_dict(nlp.make_doc("the cat"), {})
    assert nlp.update([example], sgd=nlp.resume_training()) == {"rnn_lm": 0.0}
    assert numpy.array_equal(nlp("the cat is here")._.surprisals, before)


def test_several_processes(nlp):
    texts = ["the cat is here", "cats"] * 4
    for doc, text in zip(nlp.pipe(texts, n_process=2, batch_size=3), texts, strict=True):
        assert numpy.allclose(doc._.surprisals, nlp(text)._.surprisals, atol=1e-4)


def test_surprisals_of_other_tokens_are_none():
    nlp = make_nlp()
    doc = nlp("the old cat is here")
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[:2])
    assert doc[0]._.surprisal is None
    assert doc[:]._.surprisal is None
    assert doc._.perplexity is None


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("has_instructions", [INSTRUCTIONS is not None, False])
def test_a_cpu_predicts_in_single_precision(monkeypatch, cell, has_instructions):
    for module in ("modules.backend", "layers.torch_shim"):
        monkeypatch.setattr(f"spacy_rnn.{module}.has_bfloat16", lambda: has_instructions)
    nlp = make_nlp(cell=cell)
    single = nlp("the old cat is here")._.surprisals
    get_shim(nlp.get_pipe("rnn_lm").model).mixed_precision = True
    half = nlp("the old cat is here")._.surprisals
    assert numpy.array_equal(half, single)
