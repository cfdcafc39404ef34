"""The systems that are compared: for each name, what is changed in the config of the model."""

import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.training import Example
from spacy.util import load_config, load_model_from_config
from tasks import ADAPTED, BILM, BILM_PROJECT, SPACY, TASKS, Task
from thinc.api import Config, fix_random_seed
from wasabi import msg

from spacy_rnn.layers.lm_weights import hash_weights

sys.path.append(str(BILM_PROJECT / "scripts"))
from add_bilm import add_bilm

# Memory for the language model's layers in training
CACHE_MB = 2000

# Half of a language model's layers are left out, so that what is above them learns for longer.
LONGER = {"max_steps": 8000, "patience": 2000, "eval_frequency": 200}


@dataclass(frozen=True)
class System:
    """A system that is compared.

    title (str): Its name in the table and the chart. In "2x128", 128 is a direction's units.
    task_name (str): The name of its task.
    is_ours (bool): Whether it is our component, and not spaCy's.
    model (dict[str, Any]): What is changed in the config's [model], block by block; a block with
        other `@architectures` replaces the whole one.
    seeds (int): How many trainings its accuracy comes from.
    timed (bool): Whether its speed is measured.
    bilm (dict[str, Any] | None): How its component listens to the language model that the project
        `bilm` pretrained: the arguments of `add_bilm`. None if it does not.
    adapted (bool): Whether that is the one which was pretrained further for the corpus.
    training (dict[str, Any]): What is changed in the config's [training].
    reader (dict[str, Any]): What is changed in its [corpora.train].
    """

    title: str
    task_name: str
    is_ours: bool
    model: dict[str, Any] = field(default_factory=dict)
    seeds: int = 1
    timed: bool = True
    bilm: dict[str, Any] | None = None
    adapted: bool = False
    training: dict[str, Any] = field(default_factory=dict)
    reader: dict[str, Any] = field(default_factory=dict)

    @property
    def has_bilm(self) -> bool:
        return self.bilm is not None

    @property
    def task(self) -> Task:
        return TASKS[self.task_name]


def _ours(cell: str, depth: int, **changes: Any) -> dict[str, Any]:
    """Change little more than the cell and the depth, so that the benchmark follows our config."""
    return {"tok2vec": {"encode": {"cell": cell, "depth": depth, **changes}}}


def _bilstm(width: int) -> dict[str, Any]:
    """Put spaCy's BiLSTM on spaCy's features. Its width counts both directions, and is its
    input's width too.
    """
    tok2vec = {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            "width": width,
            "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
            "rows": [5000, 1000, 2500, 2500],
            "include_static_vectors": False,
        },
        "encode": {
            "@architectures": "spacy.TorchBiLSTMEncoder.v1",
            "width": width,
            "depth": 2,
            "dropout": 0.0,
        },
    }
    return {"tok2vec": tok2vec}


def _our_textcat_with_bilstm(width: int) -> dict[str, Any]:
    """Put spaCy's BiLSTM into our text classifier, with one layer as ours."""
    encode = {
        "@architectures": "spacy.TorchBiLSTMEncoder.v1",
        "width": width,
        "depth": 1,
        "dropout": 0.0,
    }
    return {"bidirectional": True, "tok2vec": {"embed": {"width": width}, "encode": encode}}


def _reduce(*, exclusive: bool) -> dict[str, Any]:
    """What spaCy had as TextCatCNN: the mean over a CNN, with spaCy's settings."""
    return {
        "@architectures": "spacy.TextCatReduce.v1",
        "exclusive_classes": exclusive,
        "use_reduce_first": False,
        "use_reduce_last": False,
        "use_reduce_max": False,
        "use_reduce_mean": True,
        "tok2vec": {
            "@architectures": "spacy.HashEmbedCNN.v2",
            "pretrained_vectors": None,
            "width": 96,
            "depth": 4,
            "embed_size": 2000,
            "window_size": 1,
            "maxout_pieces": 3,
            "subword_features": True,
        },
    }


def _bow(*, exclusive: bool) -> dict[str, Any]:
    return {
        "@architectures": "spacy.TextCatBOW.v3",
        "exclusive_classes": exclusive,
        "length": 262144,
        "ngram_size": 1,
        "no_output_layer": False,
    }


# One network of 128 units, in single precision
SINGLE = {"members": 1, **_ours("lstm", 1, width=256, mixed_precision=False)}

SYSTEMS = {
    "ours-lstm-2x128": System("spacy-rnn LSTM 2x128", "tagger", True, _ours("lstm", 2), seeds=3),
    "ours-lstm-2x128-bfloat16": System(
        "LSTM 2x128 in bfloat16", "tagger", True, _ours("lstm", 2, mixed_precision=True)
    ),
    "ours-lstm-1x128": System("spacy-rnn LSTM 1x128", "tagger", True, _ours("lstm", 1)),
    "ours-gru-2x128": System("spacy-rnn GRU 2x128", "tagger", True, _ours("gru", 2)),
    "ours-gru-1x128": System("spacy-rnn GRU 1x128", "tagger", True, _ours("gru", 1)),
    "ours-lstm-2x128-bilm": System(
        "LSTM 2x128 with bilm",
        "tagger",
        True,
        _ours("lstm", 2, mixed_precision=True),
        seeds=3,
        bilm={"width": 128},
    ),
    "spacy-torch-bilstm-2x128": System("TorchBiLSTMEncoder 2x128", "tagger", False, _bilstm(256)),
    "spacy-torch-bilstm-64": System(
        "TorchBiLSTMEncoder 2x64", "tagger", False, _bilstm(128), timed=False
    ),
    "spacy-cnn": System("HashEmbedCNN", "tagger", False, seeds=3),
    "ours-ner": System("spacy-rnn, two BiLSTM-CRF 1x256 in bfloat16", "ner", True, seeds=3),
    "ours-ner-1x128": System("spacy-rnn, one BiLSTM-CRF 1x128", "ner", True, SINGLE, seeds=3),
    "ours-ner-bilm": System(
        "BiLSTM-CRF 1x128 with bilm",
        "ner",
        True,
        SINGLE,
        seeds=3,
        bilm={"alone": True},
        training=LONGER,
    ),
    "ours-ner-bilm-adapted": System(
        "BiLSTM-CRF 1x128 with adapted bilm",
        "ner",
        True,
        SINGLE,
        seeds=3,
        timed=False,
        bilm={"alone": True},
        adapted=True,
        training=LONGER,
    ),
    "spacy-ner-torch-bilstm": System(
        "TorchBiLSTMEncoder 2x128", "ner", False, _bilstm(256), seeds=3
    ),
    "spacy-ner-cnn": System("HashEmbedCNN", "ner", False, seeds=3),
    "spacy-ner-cnn-lower": System(
        "HashEmbedCNN, texts in lower case too",
        "ner",
        False,
        timed=False,
        reader={"augmenter": {"@augmenters": "spacy.lower_case.v1", "level": 0.15}},
    ),
    "ours-textcat": System("spacy-rnn GRU 1x128", "textcat", True, seeds=3),
    "ours-textcat-torch-bilstm": System(
        "the same with TorchBiLSTMEncoder 1x128",
        "textcat",
        True,
        _our_textcat_with_bilstm(256),
        seeds=0,
    ),
    "spacy-textcat-ensemble": System("TextCatEnsemble.v2", "textcat", False, seeds=3),
    "spacy-textcat-reduce": System("TextCatReduce.v1", "textcat", False, _reduce(exclusive=True)),
    "spacy-textcat-bow": System("TextCatBOW.v3", "textcat", False, _bow(exclusive=True), seeds=3),
    "ours-textcat-multilabel": System(
        "spacy-rnn GRU 1x128", "textcat_multilabel", True, seeds=3, timed=False
    ),
    "spacy-textcat-multilabel-ensemble": System(
        "TextCatEnsemble.v2", "textcat_multilabel", False, seeds=3, timed=False
    ),
    "spacy-textcat-multilabel-reduce": System(
        "TextCatReduce.v1", "textcat_multilabel", False, _reduce(exclusive=False), timed=False
    ),
    "spacy-textcat-multilabel-bow": System(
        "TextCatBOW.v3", "textcat_multilabel", False, _bow(exclusive=False), timed=False
    ),
}


def select_available(names: Iterable[str], corpora: Collection[str] = ()) -> list[str]:
    """Leave out the systems whose language model was not pretrained yet, and say so.

    names (Iterable[str]): Names in SYSTEMS.
    corpora (Collection[str]): The corpora they are for; all of their task if empty.
    RETURNS (list[str]): Those that can be run.
    """
    names = list(names)
    left = [
        name
        for name in names
        if SYSTEMS[name].has_bilm
        and not all(
            get_bilm(name, corpus).exists()
            for corpus in SYSTEMS[name].task.corpora
            if not corpora or corpus in corpora
        )
    ]
    if left:
        msg.warn(f"Left out: {', '.join(left)}", f"Pretrain first, in {BILM_PROJECT}.")
    return [name for name in names if name not in left]


def get_bilm(name: str, corpus: str) -> Path:
    """Get the pretrained language model of a system that has one.

    name (str): A name in SYSTEMS.
    corpus (str): The corpus that the system is trained on.
    RETURNS (Path): The directory of its pipeline.
    """
    return ADAPTED / corpus / "model-best" if SYSTEMS[name].adapted else BILM


def get_systems(task_name: str, *, timed: bool = False) -> list[str]:
    """Get the names of a task's systems.

    task_name (str): The name of the task.
    timed (bool): Whether to leave out those whose speed is not measured.
    RETURNS (list[str]): The names.
    """
    return [
        name
        for name, system in SYSTEMS.items()
        if system.task_name == task_name and (system.timed or not timed)
    ]


def get_config(name: str, corpus: str = "") -> Config:
    """Get the complete training config of a system, spaCy's defaults filled in.

    name (str): A name in SYSTEMS.
    corpus (str): The corpus it is trained on; the task's first if empty.
    RETURNS (Config): The config, with its variables, one component, and the language model that
        it listens to, if there is one.
    """
    system = SYSTEMS[name]
    config = load_config(system.task.ours if system.is_ours else SPACY, interpolate=False)
    if not system.is_ours:
        component = system.task.component
        config["nlp"]["pipeline"] = [component]
        config["components"] = {component: config["components"][component]}
    component = config["components"][get_component(config)]
    component["model"] = _change(component["model"], system.model)
    config["training"] = _change(config["training"], system.training)
    config["corpora"]["train"] = _change(config["corpora"]["train"], system.reader)
    if system.bilm is not None:
        bilm = get_bilm(name, corpus or next(iter(system.task.corpora)))
        config = _add_bilm(config, bilm, system.bilm)
    return load_model_from_config(config, auto_fill=True).config


def _add_bilm(config: Config, path: Path, arguments: dict[str, Any]) -> Config:
    config = add_bilm(config, load_config(path / "config.cfg", interpolate=False), **arguments)
    config["paths"]["bilm"] = str(path)
    bilm = config["components"]["bilm"]
    bilm["cache_mb"] = CACHE_MB
    bilm["model"]["mixed_precision"] = True
    return config


def hash_bilm(name: str, corpus: str) -> str:
    """Get a hash of the weights of the language model that a system has, empty without one."""
    if not SYSTEMS[name].has_bilm:
        return ""
    return hash_weights(get_bilm(name, corpus))[:10]


def get_component(config: Config) -> str:
    """Get the name of the component that a system is: the last of its config."""
    return config["nlp"]["pipeline"][-1]


def _change(block: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Change a block of a config, or replace it where the changes name another function."""
    if changes.get("@architectures", block.get("@architectures")) != block.get("@architectures"):
        return changes
    result = dict(block)
    for key, value in changes.items():
        old = block.get(key)
        result[key] = _change(old, value) if isinstance(old, dict) else value
    return result


def build_pipeline(
    name: str, labels: list[str], get_examples: Callable[[Language], list[Example]], seed: int = 0
) -> Language:
    """Build a system's pipeline with random weights.

    name (str): A name in SYSTEMS.
    labels (list[str]): All labels.
    get_examples (Callable[[Language], list[Example]]): Makes a few examples for the pipeline, to
        infer the layers' widths from.
    seed (int): The random seed.
    RETURNS (Language): The initialised pipeline.
    """
    config = get_config(name)
    component = get_component(config)
    if SYSTEMS[name].has_bilm:
        # Else all but the first training on a batch would be timed without it.
        config["components"]["bilm"]["cache_mb"] = 0
    nlp = spacy.blank("en")
    for pipe_name in config["nlp"]["pipeline"]:
        settings = dict(config["components"][pipe_name])
        nlp.add_pipe(settings.pop("factory"), name=pipe_name, config=settings)
    pipe: Any = nlp.get_pipe(component)
    if SYSTEMS[name].has_bilm:
        weights = str(config["paths"]["bilm"])
        nlp.config["initialize"]["components"]["bilm"] = {"weights": weights}
    if component == "ner":
        # Its label data are counts of actions.
        for label in labels:
            pipe.add_label(label)
    else:
        nlp.config["initialize"]["components"][component] = {"labels": labels}
    fix_random_seed(seed)
    nlp.initialize(lambda: get_examples(nlp))
    return nlp
