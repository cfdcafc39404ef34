"""What spaCy promises of its parser, and we of every component."""

import copy
import pickle

import numpy
import pytest
import spacy
from spacy import displacy
from spacy.tokens import Doc, Token
from spacy.training import Example

from spacy_rnn.pipeline import read_ahead

from ..conftest import SMALL_TAGGER

# Word, head, label. The last tree is not projective.
TREES = [
    "I/2/nsubj like/0/ROOT green/4/amod eggs/2/dobj ./2/punct",
    "You/2/nsubj hate/0/ROOT them/2/dobj !/2/punct",
    "They/2/nsubj buy/0/ROOT lots/2/dobj of/5/case eggs/3/pobj",
    "A/2/det hearing/3/nsubj begins/0/ROOT on/6/case the/6/det issue/2/pobj today/3/advmod",
]
MODEL = spacy.Config().from_str(SMALL_TAGGER)["model"]
CONFIG = {
    "model": {
        **MODEL,
        "@architectures": "spacy-rnn.BiaffineParser.v1",
        "arc_width": 16,
        "label_width": 8,
    }
}


def make_doc(nlp, *trees):
    words, heads, deps = [], [], []
    for tree in trees:
        first = len(words)
        for i, token in enumerate(tree.split()):
            word, head, dep = token.split("/")
            words.append(word)
            heads.append(first + (int(head) - 1 if int(head) else i))
            deps.append(dep)
    return Doc(nlp.vocab, words=words, heads=heads, deps=deps)


def make_examples(nlp):
    docs = [make_doc(nlp, tree) for tree in TREES] + [make_doc(nlp, *TREES), make_doc(nlp)]
    return [Example(Doc(nlp.vocab, words=[t.text for t in doc]), doc) for doc in docs]


def make_nlp(steps=0, seed=0, **config):
    spacy.util.fix_random_seed(seed)
    nlp = spacy.blank("en")
    nlp.add_pipe("rnn_parser", config={**CONFIG, **config})
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    optimizer.learn_rate = 0.01
    for _ in range(steps):
        nlp.update(make_examples(nlp), sgd=optimizer, drop=0.1)
    return nlp


@pytest.fixture(scope="module")
def trained():
    return make_nlp(steps=120)


def blank(doc, **kwargs):
    return Doc(doc.vocab, words=[token.text for token in doc], **kwargs)


def get_parse(doc):
    return [(token.head.i, token.dep_, token.is_sent_start) for token in doc]


def test_it_learns_trees_and_boundaries(trained):
    for eg in make_examples(trained):
        assert get_parse(trained(eg.predicted)) == get_parse(eg.reference)
    scores = trained.evaluate(make_examples(trained))
    assert scores["dep_las"] == scores["dep_uas"] == scores["sents_f"] == 1


def test_meta_is_that_of_spacys_parser():
    nlp = spacy.blank("en")
    nlp.add_pipe("parser")
    nlp.add_pipe("rnn_parser", config=CONFIG)
    spacys, ours = nlp.get_pipe_meta("parser"), nlp.get_pipe_meta("rnn_parser")
    assert ours.default_score_weights == spacys.default_score_weights
    assert {*spacys.assigns} < {*ours.assigns}


def test_the_default_model_works():
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_parser")
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    losses = nlp.update(make_examples(nlp), sgd=optimizer)
    assert losses["rnn_parser"] > 0
    assert nlp("The cat sat .")[1].dep_


def test_probabilities_are_floats(trained):
    doc = trained(blank(make_doc(trained, *TREES)))
    for token in doc:
        assert type(token._.head_probability) is float
        assert 0.5 < token._.head_probability <= 1
    assert Doc(trained.vocab, words=["a"])[0]._.head_probability is None


def test_boundaries_that_are_set_are_kept(trained):
    gold = make_doc(trained, *TREES[:2])
    starts = [True, False, True, False, False, False, False, False, False]
    doc = trained(blank(gold, sent_starts=starts))
    assert [token.is_sent_start for token in doc] == starts
    for sent in doc.sents:
        assert sum(token.head == token for token in sent) == 1
        assert all(token.head in sent for token in sent)
    # Where they are not set, they are predicted.
    doc = trained(blank(gold, sent_starts=[True, None, None, False, None, None, None, None, None]))
    assert [sent.start for sent in doc.sents] == [0, 5]


def test_a_long_sentence_is_divided():
    nlp = make_nlp(steps=5, max_length=10)
    doc = nlp(blank(make_doc(nlp, *TREES * 20)))
    assert max(map(len, doc.sents)) <= 10
    # Where its boundaries are set, it is parsed in parts, but stays one sentence.
    n = len(doc)
    doc = nlp(Doc(nlp.vocab, words=["a"] * n, sent_starts=[True] + [False] * (n - 1)))
    assert len(list(doc.sents)) == 1


def test_white_space_belongs_to_the_word_before(trained):
    doc = trained("\n I like  green eggs . \n\n")
    words = [token for token in doc if not token.is_space]
    plain = trained("I like green eggs .")
    heads = {token.i: i for i, token in enumerate(words)}
    assert [heads[token.head.i] for token in words] == [token.head.i for token in plain]
    assert [token.head.text for token in doc if token.is_space] == ["I", "like", "."]
    assert {token.dep_ for token in doc if token.is_space} == {"dep"}
    assert [token.dep_ for token in trained(" \n ")] == ["ROOT"]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_any_batch_gives_the_same(trained, monkeypatch, n_threads):
    monkeypatch.setattr(read_ahead, "TOKEN_BUDGET", 20)
    monkeypatch.setattr(read_ahead, "MIN_TOKENS", 5)
    monkeypatch.setattr(read_ahead, "count_threads", lambda: n_threads)
    texts = [" ".join(token.text for token in eg.reference) for eg in make_examples(trained)]
    texts = ["", *texts, " ", "", *texts[::-1], ""]
    alone = [trained(text) for text in texts]
    for batch_size in (1, 3, 100):
        for doc, other in zip(trained.pipe(texts, batch_size=batch_size), alone, strict=True):
            assert get_parse(doc) == get_parse(other)
            assert doc.user_data == other.user_data


def test_spacys_functions_work_on_parses(trained):
    doc = trained("I like green eggs . They buy lots of eggs")
    for token in doc:
        token.pos_ = "NOUN" if token.text in ("eggs", "lots") else "ADJ"
    assert [chunk.text for chunk in doc.noun_chunks] == ["green eggs", "lots", "of eggs"]
    assert "nsubj" in displacy.render(doc, style="dep", jupyter=False)
    eggs = doc[3]._.head_probability
    merged = trained.create_pipe("merge_noun_chunks")(doc)
    assert [token.text for token in merged][2] == "green eggs"
    assert merged[2]._.head_probability == eggs
    assert all(type(token._.head_probability) is float for token in merged)
    with doc.retokenize() as retokenizer:
        retokenizer.split(doc[1], ["li", "ke"], heads=[(doc[1], 1), (doc[1], 1)])
    assert doc[0]._.head_probability > 0.5
    part = doc[4:].as_doc(copy_user_data=True)
    assert part[1]._.head_probability == doc[5]._.head_probability


def test_a_root_that_was_merged_has_its_arcs_probability(trained):
    doc = trained("I like green eggs .")
    like = doc[1]._.head_probability
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:3])
    assert doc[0]._.head_probability == like


def test_partial_trees_teach_what_they_have():
    nlp = make_nlp()
    pipe = nlp.get_pipe("rnn_parser")
    words = ["I", "like", "green", "eggs"]

    def get_gradient(deps):
        reference = Doc(nlp.vocab, words=words, heads=[1, 1, 3, 1], deps=deps)
        examples = [Example(Doc(nlp.vocab, words=words), reference)]
        scores, _ = pipe.model.begin_update([eg.predicted for eg in examples])
        scores.params["arc_W"] += numpy.eye(16, dtype="f")
        loss, gradient = pipe.get_loss(examples, scores)
        arcs = numpy.concatenate(gradient.states)[:, :16]
        return loss, arcs.any(axis=1).tolist()

    assert get_gradient(["nsubj", "", "amod", ""])[1] == [True, False, True, False]
    assert get_gradient(["", "", "", ""]) == (0, [False] * 4)


def test_annotation_of_other_tokens_is_aligned():
    nlp = make_nlp()
    gold = Doc(
        nlp.vocab,
        words=["I", "don't", "like", "eggs"],
        heads=[2, 2, 2, 2],
        deps=["nsubj", "advmod", "ROOT", "dobj"],
    )
    eg = Example(Doc(nlp.vocab, words=["I", "do", "n't", "like", "eggs"]), gold)
    nlp.get_pipe("rnn_parser").add_label("advmod")
    losses = nlp.update([eg], sgd=nlp.create_optimizer())
    assert losses["rnn_parser"] > 0


@pytest.mark.parametrize("via", ["bytes", "disk", "pickle", "deepcopy"])
def test_serialization_into_a_fresh_pipeline(tmp_path, via, trained):
    if via == "bytes":
        fresh = spacy.blank("en").from_config(trained.config)
        fresh.from_bytes(trained.to_bytes())
    elif via == "disk":
        trained.to_disk(tmp_path)
        fresh = spacy.load(tmp_path)
    else:
        fresh = pickle.loads(pickle.dumps(trained)) if via == "pickle" else copy.deepcopy(trained)
    text = "I like green eggs . They buy lots of eggs"
    A, B = trained(text), fresh(text)
    assert get_parse(A) == get_parse(B)
    assert A.user_data == B.user_data
    assert fresh.get_pipe("rnn_parser").to_bytes() == trained.get_pipe("rnn_parser").to_bytes()


def test_the_file_of_another_component_is_named(tmp_path, trained):
    trained.to_disk(tmp_path)
    (tmp_path / "rnn_parser" / "cfg").write_text('{"labels": ["a"], "max_length": 5}')
    with pytest.raises(ValueError, match=r"rnn_parser.cfg'.* 1 labels .* have 8"):
        spacy.load(tmp_path)


def test_same_seed_same_weights():
    A, B, other = (make_nlp(steps=2, seed=seed) for seed in (0, 0, 1))
    weights = [nlp.get_pipe("rnn_parser").model.to_bytes() for nlp in (A, B, other)]
    assert weights[0] == weights[1] != weights[2]


def test_labels_from_a_file():
    nlp = spacy.blank("en")
    labels = make_nlp().get_pipe("rnn_parser").label_data
    pipe = nlp.add_pipe("rnn_parser", config=CONFIG)
    pipe.initialize(lambda: make_examples(nlp), labels=labels[::-1])
    assert pipe.label_data == labels[::-1]
    with pytest.raises(ValueError, match=r"none of those"):
        pipe.initialize(lambda: make_examples(nlp), labels=["NN"])


def test_a_label_that_is_added_later_changes_no_prediction(trained):
    nlp = copy.deepcopy(trained)
    pipe = nlp.get_pipe("rnn_parser")
    assert pipe.add_label("vocative") == 1
    assert pipe.add_label("vocative") == pipe.add_label("ROOT") == 0
    for eg in make_examples(nlp):
        assert get_parse(nlp(eg.predicted)) == get_parse(eg.reference)
    eg = make_examples(nlp)[0]
    eg.reference[0].dep_ = "vocative"
    optimizer = nlp.resume_training()
    optimizer.learn_rate = 0.01
    for _ in range(60):
        nlp.update([eg], sgd=optimizer)
    assert nlp(blank(eg.predicted))[0].dep_ == "vocative"


def test_an_unknown_label_is_named(trained):
    eg = make_examples(trained)[0]
    eg.reference[0].dep_ = "unheard"
    with pytest.raises(ValueError, match=r"'rnn_parser'.*'unheard'"):
        trained.update([eg])


def test_a_loss_that_is_not_a_number_is_an_error():
    nlp = make_nlp()
    output = nlp.get_pipe("rnn_parser").model.get_ref("output")
    output.set_param("b", output.get_param("b") * numpy.nan)
    with pytest.raises(ValueError, match=r"'rnn_parser' is not a number"):
        nlp.update(make_examples(nlp))


def test_another_name_for_the_probability():
    nlp = make_nlp(extension_prefix="parser_")
    assert nlp("I like eggs")[0]._.parser_head_probability > 0
    assert Token.has_extension("parser_head_probability")


def test_two_processes(trained):
    texts = ["I like green eggs .", "", "You hate them !"] * 5
    alone = [get_parse(doc) for doc in trained.pipe(texts)]
    assert [get_parse(doc) for doc in trained.pipe(texts, n_process=2, batch_size=4)] == alone


def test_it_listens_to_a_tok2vec():
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": MODEL["tok2vec"]})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16, "upstream": "*"}
    nlp.add_pipe("rnn_parser", config={"model": {**CONFIG["model"], "tok2vec": listener}})
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    optimizer.learn_rate = 0.01
    before = nlp.get_pipe("tok2vec").model.to_bytes()
    for _ in range(100):
        losses = nlp.update(make_examples(nlp), sgd=optimizer)
    assert losses["rnn_parser"] < 20
    assert nlp.get_pipe("tok2vec").model.to_bytes() != before
    eg = make_examples(nlp)[0]
    parse = get_parse(nlp(eg.predicted))
    nlp.replace_listeners("tok2vec", "rnn_parser", ["model.tok2vec"])
    assert get_parse(nlp(blank(eg.predicted))) == parse
