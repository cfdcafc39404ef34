"""Make pipelines-VERSION.tar.xz and predictions-VERSION.json in this folder. Those of version 0.1.0
were made by commit d65454a, from a checkout of it with compiled kernels:

    PYTHONPATH=CHECKOUT python tests/data/make_pipelines.py tests/data
"""

import json
import re
import sys
import tarfile
import tempfile
from pathlib import Path

import spacy
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam, Config, fix_random_seed

import spacy_rnn

DATA = [
    ("Anna lives in New York .", "NNP VBZ IN NNP NNP .", [(0, 4, "PER"), (14, 22, "LOC")], "GOOD"),
    ("The rain falls .", "DT NN VBZ .", [], "BAD"),
    ("Bob Smith met Eve .", "NNP NNP VBD NNP .", [(0, 9, "PER"), (14, 17, "PER")], "GOOD"),
    ("Lisbon sleeps", "NNP VBZ", [(0, 6, "LOC")], "BAD"),
]
# Part of speech, features and dependency label of each tag. All depend on the verb.
ANALYSES = {
    "NNP": ("PROPN", "Number=Sing", "nsubj"),
    "NN": ("NOUN", "Number=Sing", "obj"),
    "VBZ": ("VERB", "Number=Sing|Tense=Pres", "ROOT"),
    "VBD": ("VERB", "Tense=Past", "ROOT"),
    "IN": ("ADP", "", "case"),
    "DT": ("DET", "", "det"),
    ".": ("PUNCT", "", "punct"),
}
TEXTS = [
    *(text for text, *_ in DATA),
    "",
    " ",
    "Zoë met 12 people in Lisbon , and the rain sleeps !",
    " ".join(text for text, *_ in DATA * 2),
]
LEXEMES = {
    "@architectures": "spacy-rnn.LexemeEmbed.v1",
    "width": 8,
    "attrs": ["LOWER", "SHAPE"],
    "rows": [20, 10],
    "attr_widths": [6, 2],
    "affix_rows": 10,
    "affix_width": 2,
    "ngram_rows": 30,
    "ngram_width": 4,
    "word_dropout": 0.1,
}
CHARACTERS = {
    "@architectures": "spacy-rnn.CharCNNEmbed.v1",
    "width": 8,
    "char_width": 4,
    "filters": [[1, 4], [3, 4]],
    "max_chars": 10,
}
BOW = {
    "@architectures": "spacy.TextCatBOW.v3",
    "exclusive_classes": True,
    "ngram_size": 1,
    "length": 64,
    "no_output_layer": True,
}


def encoder(width=8, **settings):
    return {"@architectures": "spacy-rnn.RNNEncoder.v1", "width": width, "depth": 2, **settings}


def tok2vec(embed=LEXEMES, **settings):
    encode = encoder(**settings)
    return {"@architectures": "spacy.Tok2Vec.v2", "embed": embed, "encode": encode}


def tagger(*args, **settings):
    model = {"@architectures": "spacy.Tagger.v2", "tok2vec": tok2vec(*args, **settings)}
    return {"rnn_tagger": {"model": model}}


def attending_tagger(**settings):
    config = tagger()
    encode = {"@architectures": "spacy-rnn.SelfAttentionEncoder.v1", "width": 8, **settings}
    config["rnn_tagger"]["model"]["tok2vec"]["encode"] = encode
    return config


def recognizer(*, model, **settings):
    network = {
        "@architectures": "spacy-rnn.LMTok2Vec.v1",
        "embed": {**LEXEMES, "width": None},
        "encode": encoder(depth=1),
        "lm_rows": 10,
        "lm_width": 4,
    }
    crf = {"@architectures": "spacy-rnn.CRF.v1", "tok2vec": network, **model}
    return {"rnn_ner": {"model": crf, "spans_key": "rnn_ner", **settings}}


def classifier(name, linear_model, **settings):
    model = {
        "@architectures": "spacy-rnn.RNNTextCat.v1",
        "exclusive_classes": name == "rnn_textcat",
        "tok2vec": tok2vec(cell="gru"),
        "linear_model": linear_model,
        "attention_width": 4,
        **settings,
    }
    return {name: {"model": model}}


def language_model(embed=LEXEMES, **settings):
    return {
        "@architectures": "spacy-rnn.BiLM.v1",
        "embed": embed,
        "width": 8,
        "cutoffs": [6],
        **settings,
    }


def listening_tagger(embed=LEXEMES, **settings):
    listener = {"@architectures": "spacy-rnn.BiLMListener.v1", "width": 8}
    bilm = {"model": language_model(embed, **settings)}
    return {"bilm": bilm, **tagger(listener, depth=1)}


def whole_pipeline():
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 8}
    parser = {"@architectures": "spacy-rnn.BiaffineParser.v1", "arc_width": 6, "label_width": 4}
    factored = {"@architectures": "spacy-rnn.FactoredTagger.v1"}
    return {
        "rnn_tok2vec": {"model": tok2vec(), "loss_weights": {"rnn_parser": 2.0}},
        "rnn_tagger": {"model": {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}},
        "rnn_morphologizer": {"model": {**factored, "tok2vec": listener}},
        "rnn_parser": {"model": {**parser, "tok2vec": listener}},
        "rnn_lemmatizer": {
            "model": {
                "@architectures": "spacy-rnn.Seq2Seq.v1",
                "tok2vec": listener,
                "width": 8,
                "char_width": 4,
            },
            "min_edit_freq": 1,
            "use_table": False,
        },
    }


# Components, by the name of the pipeline.
PIPELINES = {
    **{f"tagger_{cell}": tagger(cell=cell) for cell in ("lstm", "gru", "elman", "irnn")},
    "tagger_one_direction": tagger(bidirectional=False, depth=3, residual=True, layer_norm=True),
    "tagger_half_precision": tagger(cell="gru", mixed_precision=True),
    "tagger_characters": tagger(CHARACTERS, depth=1),
    "tagger_rotary": attending_tagger(window=3),
    "tagger_sinusoidal": attending_tagger(positions="sinusoidal"),
    "ner_crf": recognizer(model={}, decoding="posterior", threshold=0.2, temperature=1.5),
    "ner_ensemble": recognizer(model={"members": 2, "scheme": "iob2"}, spans_key="entities"),
    "ner_softmax": recognizer(model={"output": "softmax"}),
    "textcat": classifier("rnn_textcat", BOW, pooling=["last", "mean", "max", "attention"]),
    "textcat_multilabel": classifier("rnn_textcat_multilabel", None, attention_heads=2),
    "bilm_lstm": listening_tagger(),
    "bilm_gru": listening_tagger(CHARACTERS, cell="gru", hidden=12),
    "lm_adaptive": {"rnn_lm": {"model": language_model(directions="forward", hidden=12)}},
    "lm_tied": {"rnn_lm": {"model": language_model(directions="forward", softmax="tied")}},
    "lm_elman": {"rnn_lm": {"model": language_model(directions="forward", cell="elman")}},
    "lm_irnn": {"rnn_lm": {"model": language_model(directions="both", cell="irnn", depth=1)}},
    "pipeline": whole_pipeline(),
}


def make_pipeline(components):
    """Train a pipeline for a few steps, after pretraining if it has a language model."""
    fix_random_seed(0)
    nlp = spacy.blank("xx")
    # The rules would take more room than all the rest.
    nlp.tokenizer.rules = {}
    for name, settings in components.items():
        if name in ("bilm", "rnn_lm"):
            nlp.add_pipe(name, source=pretrain_pipeline(name, settings))
        else:
            nlp.add_pipe(name, config=settings)
    if components.keys() - {"bilm", "rnn_lm"}:
        examples = make_examples(nlp)
        with nlp.select_pipes(disable=[name for name in components if name == "bilm"]):
            nlp.initialize(lambda: examples)
        optimizer = Adam(0.01)
        for _ in range(50):
            nlp.update(examples, sgd=optimizer, drop=0.1, annotates=["bilm"])
    return nlp


def pretrain_pipeline(name, settings):
    # Needs torch, which those who read predictions may not have.
    from spacy_rnn.pretraining.pretrain import pretrain

    settings = {"factory": name, **settings}
    config = {"nlp": {"lang": "xx", "pipeline": [name]}, "components": {name: settings}}
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts.txt"
        texts.write_text("\n".join(text for text, *_ in DATA * 5), encoding="utf8")
        config["lm_pretraining"] = {
            "train": str(texts),
            "dev": str(texts),
            "component": name,
            "vocabulary_size": 20,
            "n_rows": 4,
            "n_steps": 8,
            "max_epochs": 0,
            "max_steps": 30,
            "eval_frequency": 30,
            "learn_rate": 0.01,
            "warmup_steps": 1,
            "n_process": 0,
        }
        pretrain(Config(config), Path(folder) / "output")
        return spacy.load(Path(folder) / "output" / "model-best")


def make_examples(nlp):
    examples = []
    for text, tags, entities, category in DATA:
        cats = {label: float(label == category) for label in ("GOOD", "BAD")}
        pos, morphs, deps = zip(*(ANALYSES[tag] for tag in tags.split()), strict=True)
        annotation = {
            "tags": tags.split(),
            "pos": list(pos),
            "morphs": list(morphs),
            "heads": [deps.index("ROOT")] * len(deps),
            "deps": list(deps),
            "lemmas": [word.lower().removesuffix("s") or word for word in text.split()],
            "entities": entities,
            "cats": cats,
        }
        examples.append(Example.from_dict(Doc(nlp.vocab, words=text.split()), annotation))
    return examples


def read_predictions(nlp):
    """RETURNS (List[Dict[str, Any]]): For each text the labels, and the numbers of each kind."""
    predictions = []
    for text in TEXTS:
        doc = nlp(Doc(nlp.vocab, words=text.split() or list(text)))
        labels, numbers = {}, {}
        for name, pipe in nlp.pipeline:
            if name == "rnn_tagger":
                labels["tags"] = [token.tag_ for token in doc]
                numbers["tag_scores"] = pipe.model.predict([doc])[0].tolist()
            elif name == "rnn_ner":
                (group,) = doc.spans.values()
                assert list(group) == list(doc.ents)
                labels["entities"] = [[ent.start, ent.end, ent.label_] for ent in doc.ents]
                numbers["probabilities"] = group.attrs["scores"].tolist()
            elif name == "rnn_morphologizer":
                labels["morphology"] = [[token.pos_, str(token.morph)] for token in doc]
            elif name == "rnn_lemmatizer":
                labels["lemmas"] = [token.lemma_ for token in doc]
            elif name == "rnn_parser":
                labels["tree"] = [[token.head.i, token.dep_] for token in doc]
                numbers["arcs"] = [token._.head_probability or 0.0 for token in doc]
            elif name == "rnn_tok2vec":
                numbers["vectors"] = doc.tensor.tolist()
            elif name == "bilm":
                numbers["layers"] = doc._.bilm.tolist()
            elif name == "rnn_lm":
                numbers["surprisals"] = doc._.surprisals.tolist()
            else:
                labels["best"] = max(doc.cats, key=doc.cats.get)
                numbers["cats"] = list(doc.cats.values())
        predictions.append({"labels": labels, "numbers": numbers})
    return predictions


def save(nlp, path):
    """Save a pipeline with no more strings than it needs."""
    nlp.to_disk(path)
    strings = {token for text in TEXTS for token in text.split()}
    strings |= {label for labels in nlp.pipe_labels.values() for label in labels}
    (path / "vocab" / "strings.json").write_text(json.dumps(sorted(strings)))


if __name__ == "__main__":
    target, version, predictions = Path(sys.argv[1]), spacy_rnn.__version__, {}
    with (
        tempfile.TemporaryDirectory() as folder,
        tarfile.open(target / f"pipelines-{version}.tar.xz", "w:xz") as archive,
    ):
        for name, components in PIPELINES.items():
            path = Path(folder) / name
            save(make_pipeline(components), path)
            archive.add(path, name)
            # Of the pipeline that a user would load.
            predictions[name] = read_predictions(spacy.load(path))
    # Single precision has no more digits.
    text = json.dumps(predictions, indent=None, separators=(",", ":"))
    text = re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda number: f"{float(number[0]):.7g}", text)
    (target / f"predictions-{version}.json").write_text(text, encoding="utf8")
