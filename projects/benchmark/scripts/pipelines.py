"""The training configs of systems, and their pipelines with random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.training import Example
from spacy.util import load_config, load_model_from_config
from systems import SYSTEMS, get_bilm
from tasks import SPACY
from thinc.api import Config, fix_random_seed

from spacy_rnn.layers.lm_weights import hash_weights
from spacy_rnn.pretraining.add_bilm import add_bilm

# Memory for the language model's layers in training
CACHE_MB = 2000


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
    config = add_bilm(config, path, **arguments)
    bilm = config["components"]["bilm"]
    bilm["cache_mb"] = CACHE_MB
    bilm["model"]["int8"] = True
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
