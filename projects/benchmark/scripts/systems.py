"""The systems that are compared: for each name, the config of the component's [model.tok2vec]."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import spacy
from spacy.language import Language
from spacy.training import Example
from spacy.util import load_config, load_model_from_config
from tasks import SPACY, TASKS, Task
from thinc.api import Config, fix_random_seed


@dataclass(frozen=True)
class System:
    """A system that is compared.

    title (str): Its name in the table and the chart. In "2x128", 128 is a direction's units.
    task_name (str): The name of its task.
    is_ours (bool): Whether it is our component, and not spaCy's.
    tok2vec (dict[str, Any] | None): What is changed in the config's tok2vec layer, where both say
        the same `@architectures`; the whole layer where they differ. None changes nothing.
    seeds (int): How many trainings its accuracy comes from.
    timed (bool): Whether its speed is measured.
    """

    title: str
    task_name: str
    is_ours: bool
    tok2vec: dict[str, Any] | None
    seeds: int = 1
    timed: bool = True

    @property
    def task(self) -> Task:
        return TASKS[self.task_name]


def _ours(cell: str, depth: int) -> dict[str, Any]:
    """Change no more than the cell and the depth, so that the benchmark follows our config."""
    return {
        "@architectures": "spacy.Tok2Vec.v2",
        "encode": {"@architectures": "spacy-rnn.RNNEncoder.v1", "cell": cell, "depth": depth},
    }


def _bilstm(width: int) -> dict[str, Any]:
    """Put spaCy's BiLSTM on spaCy's features. Its width counts both directions, and is its
    input's width too.
    """
    return {
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


SYSTEMS = {
    "ours-lstm-2x128": System("spacy-rnn LSTM 2x128", "tagger", True, _ours("lstm", 2), seeds=3),
    "ours-lstm-1x128": System("spacy-rnn LSTM 1x128", "tagger", True, _ours("lstm", 1)),
    "ours-gru-2x128": System("spacy-rnn GRU 2x128", "tagger", True, _ours("gru", 2)),
    "ours-gru-1x128": System("spacy-rnn GRU 1x128", "tagger", True, _ours("gru", 1)),
    "spacy-torch-bilstm-2x128": System("TorchBiLSTMEncoder 2x128", "tagger", False, _bilstm(256)),
    "spacy-torch-bilstm-64": System(
        "TorchBiLSTMEncoder 2x64", "tagger", False, _bilstm(128), timed=False
    ),
    "spacy-cnn": System("HashEmbedCNN", "tagger", False, None, seeds=3),
    "ours-ner": System("spacy-rnn BiLSTM-CRF 1x128", "ner", True, None, seeds=3),
    "spacy-ner-torch-bilstm": System(
        "TorchBiLSTMEncoder 2x128", "ner", False, _bilstm(256), seeds=3
    ),
    "spacy-ner-cnn": System("HashEmbedCNN", "ner", False, None, seeds=3),
}


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


def get_config(name: str) -> Config:
    """Get the complete training config of a system, spaCy's defaults filled in.

    name (str): A name in SYSTEMS.
    RETURNS (Config): The config, with its variables and one component.
    """
    system = SYSTEMS[name]
    config = load_config(system.task.ours if system.is_ours else SPACY, interpolate=False)
    if not system.is_ours:
        component = system.task.component
        config["nlp"]["pipeline"] = [component]
        config["components"] = {component: config["components"][component]}
    model = config["components"][get_component(config)]["model"]
    if system.tok2vec is not None:
        model["tok2vec"] = _change(model["tok2vec"], system.tok2vec)
    return load_model_from_config(config, auto_fill=True).config


def get_component(config: Config) -> str:
    """Get the name of the one component a system's config has."""
    (component,) = config["nlp"]["pipeline"]
    return component


def _change(block: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Change a block of a config, or replace it where the changes name another function."""
    if block.get("@architectures") != changes.get("@architectures"):
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
    settings = dict(config["components"][component])
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(settings.pop("factory"), name=component, config=settings)
    if component == "ner":
        # Its label data are counts of actions.
        for label in labels:
            pipe.add_label(label)
    else:
        nlp.config["initialize"]["components"][component] = {"labels": labels}
    fix_random_seed(seed)
    nlp.initialize(lambda: get_examples(nlp))
    return nlp
