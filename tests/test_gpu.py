"""CPU and GPU give the same; needs a CUDA device. `test_saved_pipelines.py` compares predictions of
each component and cell.
"""

import numpy
import pytest
import spacy
import srsly
import torch
from thinc.api import (
    Adam,
    Config,
    fix_random_seed,
    get_array_module,
    require_cpu,
    require_gpu,
    to_numpy,
)

from spacy_rnn.architectures.encoder import build_rnn_encoder
from spacy_rnn.architectures.self_attention import build_self_attention_encoder
from spacy_rnn.modules.rnn.cells import CELLS

from .conftest import SMALL_TAGGER, make_examples, make_nlp
from .pipeline import test_rnn_ner as ner
from .pipeline import test_rnn_parser as parser
from .pipeline import test_rnn_textcat as textcat

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("exact_gpu")]


def make_batch(xp):
    rng = numpy.random.default_rng(0)
    return [xp.asarray(rng.normal(size=(n, 8)).astype("f")) for n in (3, 0, 1, 40, 7)]


def make_encoder(**kwargs):
    fix_random_seed(0)
    model = build_rnn_encoder(12, depth=2, **kwargs)
    model.initialize(X=make_batch(numpy))
    return model


@pytest.mark.parametrize(
    "limits", [{}, {"max_tokens_in_memory": 7}, {"bptt_k1": 4, "bptt_k2": 8}], ids=str
)
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_outputs_and_gradients_agree(cell, limits):
    on_cpu = make_encoder(cell=cell, **limits)
    Ys, backprop = on_cpu.begin_update(make_batch(numpy))
    dXs = backprop([numpy.ones_like(Y) for Y in Ys])
    on_gpu = on_cpu.copy()
    require_gpu()
    on_gpu.to_gpu(0)
    xp = on_gpu.ops.xp
    gpu_Ys, gpu_backprop = on_gpu.begin_update(make_batch(xp))
    gpu_dXs = gpu_backprop([xp.ones_like(Y) for Y in gpu_Ys])
    predicted = on_gpu.predict(make_batch(xp))
    for ours, theirs in ((Ys, gpu_Ys), (dXs, gpu_dXs), (Ys, predicted)):
        for A, B in zip(ours, theirs, strict=True):
            assert get_array_module(B) is xp
            numpy.testing.assert_allclose(to_numpy(B), A, atol=1e-4)
    for A, B in zip(
        on_cpu.shims[0].module.parameters(), on_gpu.shims[0].module.parameters(), strict=True
    ):
        assert torch.allclose(A.grad, B.grad.cpu(), atol=1e-3)


@pytest.mark.parametrize("positions", ["rotary", "sinusoidal"])
def test_self_attention_agrees(positions):
    fix_random_seed(0)
    on_cpu = build_self_attention_encoder(12, heads=2, positions=positions, window=8)
    on_cpu.initialize(X=make_batch(numpy))
    Ys, backprop = on_cpu.begin_update(make_batch(numpy))
    dXs = backprop([numpy.ones_like(Y) for Y in Ys])
    on_gpu = on_cpu.copy()
    require_gpu()
    on_gpu.to_gpu(0)
    xp = on_gpu.ops.xp
    gpu_Ys, gpu_backprop = on_gpu.begin_update(make_batch(xp))
    gpu_dXs = gpu_backprop([xp.ones_like(Y) for Y in gpu_Ys])
    for ours, theirs in ((Ys, gpu_Ys), (dXs, gpu_dXs), (Ys, on_gpu.predict(make_batch(xp)))):
        for A, B in zip(ours, theirs, strict=True):
            numpy.testing.assert_allclose(to_numpy(B), A, atol=1e-4)


def test_tags_agree_and_pipelines_move():
    nlp = make_nlp(steps=20)
    tags, scores = predict_tags(nlp)
    stored = nlp.to_bytes()
    require_gpu()
    gpu_nlp = make_nlp()
    gpu_nlp.from_bytes(stored)
    shims = [shim for node in gpu_nlp.get_pipe("rnn_tagger").model.walk() for shim in node.shims]
    assert {shim.device.type for shim in shims} == {"cuda"}
    gpu_tags, gpu_scores = predict_tags(gpu_nlp)
    assert gpu_tags == tags
    numpy.testing.assert_allclose(gpu_scores, scores, atol=1e-4)
    optimizer = gpu_nlp.resume_training()
    losses = {}
    for _ in range(3):
        gpu_nlp.update(make_examples(gpu_nlp), sgd=optimizer, losses=losses)
    assert numpy.isfinite(losses["rnn_tagger"])


@pytest.mark.parametrize(
    "encode",
    [{}, {"mixed_precision": True}, {"bptt_k1": 2, "bptt_k2": 4}, {"cell": "gru"}],
    ids=str,
)
def test_what_a_gpu_has_trained_predicts_on_a_cpu(encode):
    model = Config().from_str(SMALL_TAGGER)["model"]
    model["tok2vec"]["encode"] |= encode
    require_gpu()
    gpu_nlp = make_nlp(model, steps=80)
    gpu_tags, gpu_scores = predict_tags(gpu_nlp)
    assert gpu_tags == [[t.tag_ for t in eg.reference] for eg in make_examples(gpu_nlp)]
    stored = gpu_nlp.to_bytes()
    require_cpu()
    nlp = make_nlp(model)
    nlp.from_bytes(stored)
    tags, scores = predict_tags(nlp)
    assert tags == gpu_tags
    tolerance = 0.05 if "mixed_precision" in encode else 1e-4
    numpy.testing.assert_allclose(scores, gpu_scores, atol=tolerance)


def predict_tags(nlp):
    """RETURNS (Tuple[List[List[str]], Floats2d]): The tags, and the scores of all tokens."""
    docs = [eg.predicted for eg in make_examples(nlp)]
    pipe = nlp.get_pipe("rnn_tagger")
    scores = numpy.concatenate([to_numpy(scores) for scores in pipe.model.predict(docs)])
    return [[token.tag_ for token in doc] for doc in nlp.pipe(docs)], scores


def test_trees_and_probabilities_agree_and_learn():
    nlp = parser.make_nlp(steps=20)
    texts = [eg.reference.text for eg in parser.make_examples(nlp)]
    expected = [nlp(text) for text in texts]
    stored = nlp.to_bytes()
    require_gpu()
    gpu_nlp = parser.make_nlp()
    gpu_nlp.from_bytes(stored)
    for ours, theirs in zip(expected, gpu_nlp.pipe(texts), strict=True):
        assert parser.get_parse(ours) == parser.get_parse(theirs)
        pairs = [[t._.head_probability for t in doc] for doc in (ours, theirs)]
        assert pairs[0] == pytest.approx(pairs[1], abs=1e-4)
    optimizer, losses = gpu_nlp.resume_training(), {}
    for _ in range(3):
        gpu_nlp.update(parser.make_examples(gpu_nlp), sgd=optimizer, losses=losses)
    assert numpy.isfinite(losses["rnn_parser"])


@pytest.mark.parametrize("decoding", ["viterbi", "posterior"])
@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_entities_and_probabilities_agree_and_learn(output, decoding):
    model = ner.make_config(output=output)
    model["tok2vec"]["@architectures"] = "spacy-rnn.LMTok2Vec.v1"
    model["tok2vec"]["encode"]["depth"] = 1
    settings = {"component": {"model": model, "decoding": decoding, "threshold": 0.3}}
    nlp = ner.make_nlp(steps=20, **settings)
    texts = [text for text, _ in ner.TEXTS]
    expected = [nlp.get_pipe("rnn_ner").predict([ner.words(nlp, text)])[0] for text in texts]
    stored = nlp.to_bytes()
    require_gpu()
    gpu_nlp = ner.make_nlp(**settings)
    gpu_nlp.from_bytes(stored)
    found = gpu_nlp.get_pipe("rnn_ner").predict([ner.words(gpu_nlp, text) for text in texts])
    for ours, theirs in zip(expected, found, strict=True):
        assert [entity[:3] for entity in ours] == [entity[:3] for entity in theirs]
        assert [e[3] for e in ours] == pytest.approx([e[3] for e in theirs], abs=1e-4)
    optimizer, losses = gpu_nlp.resume_training(), {}
    for _ in range(3):
        gpu_nlp.update(ner.make_examples(gpu_nlp), sgd=optimizer, losses=losses)
    assert numpy.isfinite(losses["rnn_ner"])


@pytest.mark.parametrize("kind", textcat.KINDS)
def test_categories_and_attention_agree_and_learn(kind):
    nlp = textcat.make_nlp(kind, steps=20, linear=True)
    texts = [text for text, _ in textcat.TEXTS] + [""]
    expected = textcat.read(nlp.pipe(texts))
    docs = [nlp.make_doc(text) for text in texts]
    weights = nlp.get_pipe(kind).get_attention(docs)
    stored = nlp.to_bytes()
    require_gpu()
    gpu_nlp = textcat.make_nlp(kind, linear=True)
    gpu_nlp.from_bytes(stored)
    numpy.testing.assert_allclose(textcat.read(gpu_nlp.pipe(texts)), expected, atol=1e-4)
    for ours, theirs in zip(weights, gpu_nlp.get_pipe(kind).get_attention(docs), strict=True):
        numpy.testing.assert_allclose(theirs, ours, atol=1e-4)
    optimizer, losses = gpu_nlp.resume_training(), {}
    for _ in range(3):
        gpu_nlp.update(textcat.make_examples(gpu_nlp, kind), sgd=optimizer, losses=losses)
    assert numpy.isfinite(losses[kind])


@pytest.mark.parametrize("accumulate", [1, 3])
def test_mixed_precision_trains(accumulate):
    require_gpu()
    model = make_encoder(mixed_precision=True)
    optimizer = Adam(0.01)
    xp = model.ops.xp
    norms = []
    for _ in range(20):
        for _ in range(accumulate):
            Ys, backprop = model.begin_update(make_batch(xp))
            assert Ys[0].dtype == "float32"
            backprop([Y / accumulate for Y in Ys])
        norms.append(sum(float((Y**2).sum()) for Y in Ys))
        model.finish_update(optimizer)
    assert norms[-1] < 0.5 * norms[0]


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_mixed_precision_is_close(cell):
    require_gpu()
    half, single = (make_encoder(cell=cell, mixed_precision=mixed) for mixed in (True, False))
    Xs = make_batch(half.ops.xp)
    for A, B in zip(half.predict(Xs), single.predict(Xs), strict=True):
        assert A.dtype == B.dtype == "float32"
        numpy.testing.assert_allclose(to_numpy(A), to_numpy(B), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("mixed_precision, tolerance", [(False, 1e-5), (True, 5e-3)])
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_batch_invariance(cell, mixed_precision, tolerance):
    require_gpu()
    model = make_encoder(cell=cell, mixed_precision=mixed_precision)
    Xs = make_batch(model.ops.xp)
    for X, together in zip(Xs, model.predict(Xs), strict=True):
        numpy.testing.assert_allclose(
            to_numpy(together), to_numpy(model.predict([X])[0]), rtol=tolerance, atol=tolerance
        )


def test_language_models_agree():
    from .pipeline import test_bilm as bilm

    on_cpu = bilm.make_nlp()
    expected = [doc._.bilm for doc in on_cpu.pipe(["The cat sat .", "", "Hi  there"])]
    require_gpu()
    on_gpu = bilm.make_nlp(initialize=False)
    on_gpu.from_bytes(on_cpu.to_bytes())
    for doc, layers in zip(on_gpu.pipe(["The cat sat .", "", "Hi  there"]), expected, strict=True):
        numpy.testing.assert_allclose(to_numpy(doc._.bilm), layers, atol=1e-4)
    for frozen in (True, False):
        on_gpu.get_pipe("bilm").frozen = frozen
        bilm.train(on_gpu, 2)


@pytest.mark.parametrize("mixed_precision", [False, True])
def test_pretraining_on_a_gpu(tmp_path, mixed_precision):
    from .pretraining import test_loop as pretraining

    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(pretraining.SENTENCES * 12))
    config = pretraining.make_config(texts, mixed_precision=mixed_precision, max_epochs=6)
    pretraining.pretrain(config, tmp_path / "output", use_gpu=0)
    log = list(srsly.read_jsonl(tmp_path / "output" / "log.jsonl"))
    assert log[-1]["dev_perplexity"][0] < 0.7 * log[0]["dev_perplexity"][0]
    pretraining.pretrain(config, tmp_path / "output", use_gpu=0, resume=True)
    layers = []
    for require in (require_gpu, require_cpu):
        require()
        nlp = spacy.load(tmp_path / "output" / "model-best")
        layers.append(to_numpy(nlp(pretraining.SENTENCES[0])._.bilm))
    numpy.testing.assert_allclose(*layers, atol=1e-4)
