import pickle
import subprocess
import sys
import threading
import warnings

import numpy
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Config, fix_random_seed

from spacy_rnn.layers.bilm_listener import get_listener
from spacy_rnn.layers.lm import set_vocabulary
from spacy_rnn.modules.cache import cached
from spacy_rnn.pipeline.bilm import BiLM

from ..conftest import SMALL_BILM

LISTENER = """
[nlp]
lang = "xx"
pipeline = ["bilm", "rnn_tagger", "rnn_ner"]

[components]

SMALL_BILM

[components.rnn_tagger]
factory = "rnn_tagger"

[components.rnn_tagger.model]
@architectures = "spacy.Tagger.v2"

[components.rnn_tagger.model.tok2vec]
@architectures = "spacy.Tok2Vec.v2"

[components.rnn_tagger.model.tok2vec.embed]
@layers = "concatenate.v1"

[components.rnn_tagger.model.tok2vec.embed.*.lexemes]
@architectures = "spacy-rnn.LexemeEmbed.v1"
width = 16
rows = [50, 50, 50, 50]
affix_rows = 50
ngram_rows = 100

[components.rnn_tagger.model.tok2vec.embed.*.context]
@architectures = "spacy-rnn.BiLMListener.v1"
dropout = 0.0

[components.rnn_tagger.model.tok2vec.encode]
@architectures = "spacy-rnn.RNNEncoder.v1"
width = 16
depth = 1

[components.rnn_ner]
factory = "rnn_ner"

[components.rnn_ner.model]
@architectures = "spacy-rnn.CRF.v1"

[components.rnn_ner.model.tok2vec]
@architectures = "spacy-rnn.BiLMListener.v1"
width = 16
""".replace("SMALL_BILM", SMALL_BILM)
LAYERS = ["model.tok2vec.embed.*.context"]
DATA = [
    ("The cat sat in Paris .", "DT NN VBD IN NNP .", [(15, 20, "GPE")]),
    ("Dogs bark at Anna .", "NNS VBP IN NNP .", [(13, 17, "PERSON")]),
]


def make_nlp(initialize=True, **overrides):
    fix_random_seed(0)
    config = Config().from_str(LISTENER, overrides=overrides)
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    if initialize:
        with pytest.warns(UserWarning, match="no pretrained weights"):
            nlp.initialize(lambda: get_examples(nlp))
    return nlp


def get_examples(nlp):
    examples = []
    for text, tags, ents in DATA:
        words = text.split()
        doc = Doc(nlp.vocab, words=words)
        examples.append(Example.from_dict(doc, {"tags": tags.split(), "entities": ents}))
    return examples


def get_bilm_weights(nlp):
    module = nlp.get_pipe("bilm").model.shims[0].module
    return [param.detach().clone() for param in module.parameters()]


def train(nlp, n=15, **kwargs):
    optimizer = nlp.resume_training()
    optimizer.learn_rate = 0.02
    for _ in range(n):
        losses = nlp.update(get_examples(nlp), sgd=optimizer, losses={}, **kwargs)
    return losses


def predict(nlp, text="The cat sat with Anna in Paris ."):
    doc = nlp(text)
    return doc, [token.tag_ for token in doc], [(ent.text, ent.label_) for ent in doc.ents]


def test_layers_are_on_the_doc():
    nlp = make_nlp()
    doc = nlp("The cat sat .")
    assert doc._.bilm.shape == (3, 4, 32)
    assert doc._.bilm.dtype == numpy.float32
    assert numpy.array_equal(doc._.bilm[0, :, :16], doc._.bilm[0, :, 16:])
    assert doc.tensor.size == 0
    other = nlp("The cat slept .")
    assert numpy.array_equal(doc._.bilm[0, 1], other._.bilm[0, 1])
    assert numpy.allclose(doc._.bilm[1:, 1, :16], other._.bilm[1:, 1, :16], atol=1e-6)
    assert not numpy.allclose(doc._.bilm[1:, 1, 16:], other._.bilm[1:, 1, 16:])


def test_a_cleaner_frees_the_layers():
    nlp = make_nlp()
    expected = predict(nlp)[1:]
    nlp.add_pipe("doc_cleaner", config={"attrs": {"_.bilm": None}})
    assert predict(nlp)[1:] == expected
    assert all(doc._.bilm is None for doc in nlp.pipe(["The cat sat .", "Hi"]))


def test_layers_do_not_depend_on_the_batch():
    nlp = make_nlp()
    texts = ["The cat sat .", "", "Dogs bark at Anna all day long , and cats sleep .", "Hi", " "]
    for doc, text in zip(nlp.pipe(texts), texts, strict=True):
        alone = nlp(text)._.bilm
        assert doc._.bilm.shape == alone.shape == (3, len(doc), 32)
        assert numpy.allclose(doc._.bilm, alone, atol=1e-5)


def test_windows_are_small_and_threads_predict_them(monkeypatch):
    nlp = make_nlp()
    texts = ["The cat sat .", "", "Dogs bark at Anna all day long , and cats sleep .", "Hi"] * 20
    expected = [nlp(text)._.bilm for text in texts]
    monkeypatch.setattr("spacy_rnn.pipeline.read_ahead.MIN_TOKENS", 5)
    monkeypatch.setattr(BiLM, "max_window", 20)
    windows, predict_window = [], BiLM.predict

    def spy(self, docs):
        windows.append((threading.current_thread(), sum(map(len, docs[:-1]))))
        return predict_window(self, docs)

    monkeypatch.setattr(BiLM, "predict", spy)
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        docs = list(nlp.pipe(texts))
    finally:
        torch.set_num_threads(n_threads)
    assert threading.current_thread() not in {thread for thread, _ in windows}
    assert 5 < max(size for _, size in windows) < 20
    for doc, layers in zip(docs, expected, strict=True):
        assert numpy.allclose(doc._.bilm, layers, atol=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("cache_mb", [0, 1])
def test_listeners_learn_and_only_a_thawed_model_changes(frozen, cache_mb):
    changes = {"components.bilm.frozen": frozen, "components.bilm.cache_mb": cache_mb}
    nlp = make_nlp(**changes)
    before = get_bilm_weights(nlp)
    first, last = train(nlp, 1), train(nlp, 40)
    assert last["rnn_tagger"] < 0.5 * first["rnn_tagger"]
    changed = [not (a == b).all() for a, b in zip(before, get_bilm_weights(nlp), strict=True)]
    assert any(changed) is not frozen
    assert frozen or all(changed)


def test_the_model_runs_once_for_all_listeners(monkeypatch):
    nlp = make_nlp()
    bilm, n_docs = nlp.get_pipe("bilm"), []
    assert bilm.listening_components == ["rnn_tagger", "rnn_ner"]
    assert len(bilm.listeners) == 2
    predict_docs = bilm.predict
    monkeypatch.setattr(
        bilm, "predict", lambda docs: n_docs.append(len(docs)) or predict_docs(docs)
    )
    train(nlp, 3)
    assert n_docs == [2, 2, 2]


def test_the_cache_gives_what_was_computed():
    nlp = make_nlp(**{"components.bilm.cache_mb": 1})
    bilm, n_docs = nlp.get_pipe("bilm"), []
    encode = lambda docs: n_docs.append(len(docs)) or bilm.predict(docs)  # noqa: E731
    docs = [nlp.make_doc(text) for text in ("one", "two words", "", "one")]
    fresh = bilm._cache.get_layers(docs, encode)
    kept = bilm._cache.get_layers(docs, encode)
    assert n_docs == [4]
    assert all(numpy.array_equal(a, b) for a, b in zip(fresh, kept, strict=True))


def test_a_full_cache_keeps_no_more():
    nlp = make_nlp(**{"components.bilm.cache_mb": 1})
    cache, bilm = nlp.get_pipe("bilm")._cache, nlp.get_pipe("bilm")
    for i in range(60):
        cache.get_layers([nlp.make_doc(f"word{i} " * 100)], bilm.predict)
    size = sum(layers.nbytes for layers in cached(cache, "layers", [], dict).values())
    assert 0.9e6 < size <= 1e6


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("how", ["disk", "bytes", "pickle"])
def test_what_is_loaded_predicts_the_same(tmp_path, how, frozen):
    nlp = make_nlp(**{"components.bilm.frozen": frozen})
    train(nlp)
    if how == "disk":
        nlp.to_disk(tmp_path)
        twin = spacy.load(tmp_path)
    elif how == "bytes":
        twin = make_nlp(initialize=False)
        twin.from_bytes(nlp.to_bytes())
    else:
        twin = pickle.loads(pickle.dumps(nlp))
    (doc, *labels), (other, *others) = predict(nlp), predict(twin)
    assert numpy.allclose(doc._.bilm, other._.bilm, atol=1e-6)
    assert labels == others
    assert len(twin.get_pipe("bilm").listeners) == 2
    train(twin, 2)


def test_frozen_and_annotating_as_spacy_has_it():
    nlp = make_nlp()
    before = get_bilm_weights(nlp)
    losses = train(nlp, 5, exclude=["bilm"], annotates=["bilm"])
    assert "bilm" not in losses
    assert all((a == b).all() for a, b in zip(before, get_bilm_weights(nlp), strict=True))


def test_without_layers_a_listener_says_what_to_do():
    nlp = make_nlp()
    train(nlp, 1)
    with pytest.raises(ValueError, match="annotating_components"):
        train(nlp, 1, exclude=["bilm"])
    with nlp.select_pipes(disable="bilm"), pytest.raises(ValueError, match="before this one"):
        nlp("The cat sat .")
    doc = nlp.get_pipe("bilm")(nlp.make_doc("The cat sat ."))
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[:2])
    with pytest.raises(ValueError, match="another number of tokens"):
        nlp.get_pipe("rnn_tagger")(doc)


def test_without_a_language_model_a_listener_can_not_be_initialised():
    config = make_nlp(initialize=False).get_pipe_config("rnn_tagger")
    alone = spacy.blank("xx")
    alone.add_pipe("rnn_tagger", config={"model": config["model"]})
    examples = get_examples(alone)
    with pytest.raises(ValueError, match="none that is a language model"):
        alone.initialize(lambda: examples)


def test_replaced_listeners_predict_the_same(tmp_path):
    nlp = make_nlp()
    train(nlp)
    expected = predict(nlp)[1:]
    nlp.replace_listeners("bilm", "rnn_tagger", LAYERS)
    assert nlp.get_pipe("bilm").listening_components == ["rnn_ner"]
    assert predict(nlp)[1:] == expected
    nlp.remove_pipe("rnn_ner")
    nlp.remove_pipe("bilm")
    nlp.to_disk(tmp_path)
    twin = spacy.load(tmp_path)
    assert twin.pipe_names == ["rnn_tagger"]
    assert predict(twin)[1] == expected[0]
    train(twin, 2)


def test_sourced_with_its_listeners():
    nlp = make_nlp()
    train(nlp)
    other = spacy.blank("xx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in nlp.pipe_names:
            other.add_pipe(name, source=nlp)
    assert predict(other)[1:] == predict(nlp)[1:]


def save_pretrained(path, **overrides):
    nlp = make_nlp(initialize=False, **overrides)
    for name in ("rnn_tagger", "rnn_ner"):
        nlp.remove_pipe(name)
    bilm = nlp.get_pipe("bilm")
    bilm.model.initialize()
    set_vocabulary(bilm.model, ["</s>", "<unk>", *(f"w{i}" for i in range(30))])
    nlp.to_disk(path)
    return get_bilm_weights(nlp)


def test_pretrained_weights_are_loaded(tmp_path):
    weights = save_pretrained(tmp_path / "lm")
    nlp = make_nlp(initialize=False)
    nlp.config["initialize"]["components"]["bilm"] = {"weights": str(tmp_path / "lm")}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*no pretrained weights.*")
        nlp.initialize(lambda: get_examples(nlp))
    assert all((a == b).all() for a, b in zip(weights, get_bilm_weights(nlp), strict=True))
    # Other components have no use for what predicts words.
    assert nlp.get_pipe("bilm").model.layers[1].shims[0].module is None


def test_weights_of_another_configuration_are_refused(tmp_path):
    save_pretrained(tmp_path / "lm", **{"components.bilm.model.depth": 1})
    nlp = make_nlp(initialize=False)
    bilm = nlp.get_pipe("bilm")
    with pytest.raises(ValueError, match=r"depth = 1.*depth = 2"):
        bilm.initialize(lambda: [], weights=tmp_path / "lm")
    with pytest.raises(ValueError, match="nowhere"):
        bilm.initialize(lambda: [], weights=tmp_path / "nowhere")
    spacy.blank("xx").to_disk(tmp_path / "blank")
    with pytest.raises(ValueError, match="0 language models"):
        bilm.initialize(lambda: [], weights=tmp_path / "blank")


def test_gradients_are_those_of_all_listeners_together():
    nlp = make_nlp(**{"components.bilm.frozen": False})
    # A new tagger's last layer is zero, and so is its gradient.
    train(nlp, 3)
    bilm, examples = nlp.get_pipe("bilm"), get_examples(nlp)
    given = []
    for names in (["rnn_tagger"], ["rnn_ner"], ["rnn_tagger", "rnn_ner"]):
        for pipe in (bilm, *(nlp.get_pipe(name) for name in nlp.pipe_names[1:])):
            for node in pipe.model.walk():
                for shim in node.shims:
                    if shim.module is not None:
                        shim.module.zero_grad()
        fix_random_seed(1)
        bilm.update(examples)
        for name in names:
            fix_random_seed(1)
            nlp.get_pipe(name).update(examples)
        given.append([dY.copy() for dY in bilm._gradients._sums])
        bilm._gradients = None
    for tagger, ner, both in zip(*given, strict=True):
        assert abs(tagger).max() > 0
        assert abs(ner).max() > 0
        assert numpy.allclose(tagger + ner, both, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_arrive_as_spacy_train_has_it(accumulate):
    nlp = make_nlp(**{"components.bilm.frozen": False})
    optimizer, bilm = nlp.resume_training(), nlp.get_pipe("bilm")
    # A new tagger gives no gradient in its first step.
    for step in range(2):
        before = get_bilm_weights(nlp)
        for _ in range(accumulate):
            nlp.update(get_examples(nlp), sgd=False, losses={})
        for _, pipe in nlp.pipeline:
            pipe.finish_update(optimizer)
        assert bilm._gradients is None
        changes = [abs(a - b).max() for a, b in zip(before, get_bilm_weights(nlp), strict=True)]
        # Weight decay by itself changes biases that are zero not at all.
        assert all(change > 1e-6 for change in changes), step


def test_listeners_are_found_by_name():
    nlp = make_nlp(initialize=False)
    links = [get_listener(node) for node in nlp.get_pipe("rnn_ner").model.walk()]
    (link,) = [link for link in links if link is not None]
    assert link.upstream == "*"
    link.upstream = "other"
    nlp._link_components()
    assert nlp.get_pipe("bilm").listening_components == ["rnn_tagger"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("directions", "backward"), ("cutoffs", [5, 5]), ("softmax", "full"), ("hidden", 0)],
)
def test_wrong_settings_are_named(setting, value):
    with pytest.raises(ValueError, match=setting):
        make_nlp(initialize=False, **{f"components.bilm.model.{setting}": value})
    with pytest.raises(ValueError, match="width"):
        make_nlp(initialize=False, **{"components.bilm.model.width": 13})


def test_assigns_is_known_to_spacy():
    assert "doc._.bilm" in Language.get_factory_meta("bilm").assigns


def test_white_space_is_not_read():
    nlp = make_nlp()
    plain, spaced = nlp("The cat sat ."), nlp("The  cat sat .\n\n")
    is_space = [token.is_space for token in spaced]
    assert is_space == [False, True, False, False, False, True]
    assert not spaced._.bilm[:, is_space].any()
    words = [not space for space in is_space]
    assert numpy.allclose(spaced._.bilm[:, words], plain._.bilm, atol=1e-5)
    assert not nlp(" ")._.bilm.any()
    # In training as well.
    nlp.get_pipe("bilm").frozen = False
    model = nlp.get_pipe("bilm").model
    (Y, empty), backprop = model.begin_update([spaced, nlp.make_doc("")])
    assert not Y[:, is_space].any()
    backprop([Y, empty])


def test_every_doc_has_memory_of_its_own():
    nlp = make_nlp()
    docs = list(nlp.pipe(["Hi", "The cat sat in Paris ."] * 3))
    assert not any(
        numpy.shares_memory(a._.bilm, b._.bilm) for i, a in enumerate(docs) for b in docs[:i]
    )


def test_layers_stay_what_they_are_when_others_are_predicted():
    nlp = make_nlp()
    texts = ["The cat sat .", "Anna  is in Paris , and so is the cat .", "A", "It sat ."]
    docs = [nlp(text) for text in texts]
    together = list(nlp.pipe(texts))
    for doc, other in zip(docs, together, strict=True):
        assert numpy.abs(doc._.bilm - other._.bilm).max() < 1e-5
    assert numpy.abs(docs[0]._.bilm[1:]).min() > 0


def test_the_cache_forgets_when_weights_change():
    nlp, other = (make_nlp(**{"components.bilm.cache_mb": 1}) for _ in range(2))
    for param in other.get_pipe("bilm").model.shims[0].module.parameters():
        param.data.mul_(2)
    bilm, examples = nlp.get_pipe("bilm"), get_examples(nlp)[:1]
    bilm.update(examples)
    before = examples[0].predicted._.bilm
    bilm.from_bytes(other.get_pipe("bilm").to_bytes())
    bilm.update(examples)
    after = examples[0].predicted._.bilm
    assert not numpy.allclose(before[1:], after[1:], atol=1e-3)
    assert numpy.allclose(after, bilm.predict([examples[0].reference])[0], atol=1e-6)


def test_two_language_models_are_refused():
    nlp = make_nlp()
    with pytest.raises(ValueError, match="both write"):
        nlp.add_pipe("bilm", name="other", last=True)


def test_attributes_that_depend_on_the_text_are_refused():
    with pytest.raises(ValueError, match="TAG"):
        make_nlp(initialize=False, **{"components.bilm.model.embed.attrs": ["LOWER", "TAG"]})


def test_only_samples_may_lack_layers():
    nlp = make_nlp()
    optimizer = nlp.resume_training()
    with pytest.raises(ValueError, match="annotating_components"):
        nlp.update(get_examples(nlp), sgd=optimizer, exclude=["bilm"])


def test_a_pickle_is_read_by_another_process(tmp_path):
    nlp = make_nlp()
    (tmp_path / "nlp.pickle").write_bytes(pickle.dumps(nlp))
    code = (
        "import pickle, sys; nlp = pickle.loads(open(sys.argv[1], 'rb').read()); "
        "print(nlp('The cat')._.bilm.shape)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "nlp.pickle")], capture_output=True, text=True
    )
    assert run.stdout.strip() == "(3, 2, 32)", run.stderr
