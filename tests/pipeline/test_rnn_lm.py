import math
import pickle

import numpy
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.training import Example
from thinc.api import Config, fix_random_seed

from spacy_rnn.layers.lm import Scorer, set_vocabulary
from spacy_rnn.layers.torch_shim import get_shim
from spacy_rnn.modules.backend import has_bfloat16
from spacy_rnn.modules.rnn.cells import CELLS
from spacy_rnn.probing.agreement import Item, measure, read_items
from spacy_rnn.probing.evaluate_lm import evaluate_language_model

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


def make_nlp(softmax="adaptive", directions="forward", with_vocabulary=True, cell="lstm"):
    fix_random_seed(0)
    text = CONFIG.replace("DIRECTIONS", directions).replace("SOFTMAX", softmax)
    config = Config().from_str(text, overrides={"components.rnn_lm.model.cell": cell})
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    model = nlp.get_pipe("rnn_lm").model
    model.initialize()
    if with_vocabulary:
        set_vocabulary(model, VOCABULARY)
    return nlp


@pytest.fixture(scope="module", params=["adaptive", "tied"])
def nlp(request):
    return make_nlp(request.param)


def make_scorer(nlp):
    return Scorer(nlp.get_pipe("rnn_lm").model, nlp.vocab)


def test_surprisal_is_in_bits_and_perplexity_its_mean(nlp):
    doc = nlp("the  cats are here now .")
    logs = make_scorer(nlp).get_log_probs([["the", "cats", "are", "here", "now", "."]])[0]
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


@given(words=st.lists(st.sampled_from(VOCABULARY[2:]), max_size=4))
def test_probabilities_of_all_next_words_add_up_to_one(nlp, words):
    scorer = make_scorer(nlp)
    logs = scorer.compare([words], [[*VOCABULARY[2:], "unheard-of"]])[0]
    end = scorer.get_log_probs([words])[0][-1]
    assert math.isclose(sum(map(math.exp, logs)) + math.exp(end), 1.0, rel_tol=1e-4)


def test_unknown_words_share_one_probability(nlp):
    first, second = make_scorer(nlp).compare([["the"]], [["xyzzy", "plugh"]])[0]
    assert first == second


def test_backward_reads_from_the_right():
    nlp = make_nlp(directions="both")
    scorer = make_scorer(nlp)
    assert scorer.directions == ["forward", "backward"]
    texts = [["the", "cats", "are", "here"], [], ["the", "cats", "are", "old"]]
    first, empty, second = scorer.get_log_probs(texts, 1)
    assert (len(first), len(empty)) == (5, 1)
    # Of the words, only the last is predicted from the same: nothing.
    assert not numpy.allclose(first[:3], second[:3], atol=1e-3)
    one = scorer.get_log_probs([["here"]], 1)[0]
    assert math.isclose(one[0], first[3], rel_tol=1e-4)
    with pytest.raises(ValueError, match="left only"):
        make_scorer(make_nlp()).get_log_probs(texts, 1)


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


def test_evaluation_counts_words_ends_and_unknown_ones(nlp):
    texts = [["the", "cat"], [], ["xyzzy", "is", "here"]] * 50
    scorer = make_scorer(nlp)
    score = evaluate_language_model(scorer, iter(texts))
    assert (score.n_texts, score.n_words, score.n_unknown) == (100, 250, 50)
    logs = [scorer.get_log_probs([words])[0] for words in texts if words]
    every = numpy.concatenate(logs)
    assert math.isclose(score.perplexity, math.exp(-every.mean()), rel_tol=1e-4)
    known = numpy.concatenate([log[1:] if len(log) == 4 else log for log in logs])
    assert math.isclose(score.known_perplexity, math.exp(-known.mean()), rel_tol=1e-4)
    assert score.unknown_rate == 0.2
    assert math.isnan(evaluate_language_model(scorer, []).perplexity)


def test_generation_is_repeatable_and_in_the_vocabulary(nlp):
    scorer = make_scorer(nlp)
    words = scorer.generate(["the"], 20, seed=1)
    assert words == scorer.generate(["the"], 20, seed=1)
    assert set(words) <= set(VOCABULARY[2:])
    assert len(scorer.generate([], 3, top_k=1)) <= 3
    greedy = scorer.generate(["the", "cats"], 1, top_k=1)
    logs = scorer.compare([["the", "cats"]], [VOCABULARY[2:]])[0]
    end = scorer.get_log_probs([["the", "cats"]])[0][-1]
    best = VOCABULARY[2:][int(numpy.argmax(logs))]
    assert greedy == ([best] if max(logs) > end else [])


def test_agreement_asks_which_form_is_likelier(nlp):
    scorer = make_scorer(nlp)
    items = [
        Item("singular", ["the", "cat"], "is", "are"),
        Item("plural", ["the", "cats"], "are", "is"),
        Item("plural", ["the", "cat"], "are", "is"),
        Item("plural", ["the", "cats"], "are", "were"),
    ]
    results = measure(scorer, items)
    logs = scorer.compare([["the", "cat"], ["the", "cats"]], [["is", "are"]] * 2)
    (a, b), (c, d) = logs
    assert vars(results["singular"]) == {"n_correct": int(a > b), "n_items": 1, "n_skipped": 0}
    assert vars(results["plural"]) == {
        "n_correct": int(d > c) + int(b > a),
        "n_items": 2,
        "n_skipped": 1,
    }
    assert results["singular"].accuracy in (0.0, 1.0)


def test_agreement_data_are_read(tmp_path):
    tasks = tmp_path / "NA_tasks"
    tasks.mkdir()
    rows = ["the cat is\tsingular\tcorrect\tid1", "the cat are\tsingular\twrong\tid1"]
    (tasks / "simple.txt").write_text("\n".join(rows))
    (tasks / "readme.md").write_text("no data")
    english = tmp_path / "agreement" / "English"
    english.mkdir(parents=True)
    header = "pattern\tconstr_id\tsent_id\tcorrect_number\tform\tclass\ttype\tprefix\tsent"
    (english / "generated.tab").write_text(
        f"{header}\np\t1\t2\tsing\tis\tcorrect\tgenerated\tthe old cat\tx\n"
        "p\t1\t2\tsing\tare\twrong\tgenerated\tthe old cat\tx\n"
    )
    linzen = tmp_path / "linzen_testset"
    linzen.mkdir()
    (linzen / "subj_agr_filtered.text").write_text("the cats are here\nthe cat is here\n")
    (linzen / "subj_agr_filtered.gold").write_text("2\tare\tis\t0\n2\tis\tare\t0\n")
    (linzen / "lines_found_in_texts.txt").write_text("2\n")
    assert read_items(tmp_path) == {
        "simple": [Item("singular", ["the", "cat"], "is", "are")],
        "colorless green, English": [Item("nonce", ["the", "old", "cat"], "is", "are")],
        "Linzen": [Item("0 attractors", ["the", "cats"], "are", "is")],
    }
    (tasks / "simple.txt").write_text("\n".join([rows[0], "a dog are\tsingular\twrong\tid1"]))
    with pytest.raises(ValueError, match="no pair"):
        read_items(tasks / "simple.txt")
    (tasks / "simple.txt").write_text("the cat is\tsingular")
    with pytest.raises(ValueError, match="line 1"):
        read_items(tasks)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="no number agreement data"):
        read_items(tmp_path / "nothing")


def test_surprisals_of_other_tokens_are_none():
    nlp = make_nlp()
    doc = nlp("the old cat is here")
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[:2])
    assert doc[0]._.surprisal is None
    assert doc[:]._.surprisal is None
    assert doc._.perplexity is None


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("has_instructions", [True, False])
def test_half_precision_is_for_scores_too(monkeypatch, cell, has_instructions):
    if not has_instructions:
        for module in ("modules.backend", "layers.torch_shim"):
            monkeypatch.setattr(f"spacy_rnn.{module}.has_bfloat16", lambda: False)
    nlp = make_nlp(cell=cell)
    single = nlp("the old cat is here")._.surprisals
    get_shim(nlp.get_pipe("rnn_lm").model).mixed_precision = True
    half = nlp("the old cat is here")._.surprisals
    assert numpy.allclose(half, single, atol=0.2)
    if not has_instructions:
        assert numpy.array_equal(half, single)
    elif has_bfloat16():
        assert not numpy.array_equal(half, single)
