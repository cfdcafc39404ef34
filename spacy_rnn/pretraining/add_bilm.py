"""Add a pretrained language model to the config of a pipeline."""

from pathlib import Path
from typing import Any

from thinc.api import Config

from .pretrained_config import find_component, read_config

NAME = "bilm"


def add_bilm(
    config: Config,
    weights: Path,
    *,
    width: int | None = None,
    dropout: float | None = 0.5,
    alone: bool = False,
) -> Config:
    """Add a language model to a config: each of our embedding layers gets the model's layers beside
    it, or is replaced by them.

    config (Config): The training config, its variables not resolved.
    weights (Path): A pipeline that `spacy rnn pretrain` saved, for `paths.bilm`. Or the config that
        the model will be pretrained with; `paths.bilm` is null then.
    width (Optional[int]): The width to map the mix of layers to. None: as wide as they are.
    dropout (Optional[float]): The rate of dropout of the mix. None follows `[training] dropout`.
    alone (bool): Whether the mix replaces the embedding layer. Else it is concatenated to it.
    RETURNS (Config): The new config.
    RAISES (ValueError): If the config has a language model or no embedding layer of ours, or there
        is no language model in `weights`.
    """
    config = config.copy()
    components = config.setdefault("components", {})
    for name, component in components.items():
        if NAME in (name, component.get("factory")):
            raise ValueError(f"The config has a language model, the component {name!r}, already.")
    listener = {
        "@architectures": "spacy-rnn.BiLMListener.v1",
        "width": width,
        "dropout": dropout,
        "upstream": "*",
    }
    n_layers = 0
    for component in components.values():
        n_layers += _add_listeners(component, listener, alone=alone)
        if "members" in component.get("model", {}):
            # Networks that listen can't be copied.
            component["model"]["members"] = 1
    if not n_layers:
        raise ValueError(
            "The config has no embedding layer spacy-rnn.LexemeEmbed.v1 or "
            "spacy-rnn.CharCNNEmbed.v1 that a language model could be added to: begin with one of "
            "the configs of spacy-rnn, or with a component of it that has its model in the config."
        )
    pretrained = read_config(weights)
    block = pretrained["components"][find_component(pretrained, weights)]
    # Of a model pretrained as `rnn_lm` too.
    component = {**block, "factory": NAME}
    config.setdefault("paths", {})[NAME] = str(weights) if weights.is_dir() else None
    config["nlp"]["pipeline"] = [NAME, *config["nlp"]["pipeline"]]
    config["components"] = {NAME: component, **components}
    initialize = config.setdefault("initialize", {})
    initialize.setdefault("components", {})[NAME] = {"weights": f"${{paths.{NAME}}}"}
    return config


def _add_listeners(block: dict[str, Any], listener: dict[str, Any], *, alone: bool) -> int:
    """RETURNS (int): The number of embedding layers in the block."""
    n_layers = 0
    for key, value in block.items():
        if not isinstance(value, dict):
            continue
        if key == "embed" and str(value.get("@architectures")).startswith("spacy-rnn."):
            n_layers += 1
            block[key] = dict(listener)
            if not alone:
                parts = {"lexemes": value, "context": dict(listener)}
                block[key] = {"@layers": "concatenate.v1", "*": parts}
            if block.get("@architectures") == "spacy-rnn.LMTok2Vec.v1":
                # Nothing is left to learn where the next word is already known.
                for name in [name for name in block if name.startswith("lm_")]:
                    del block[name]
                block["@architectures"] = "spacy.Tok2Vec.v2"
                return n_layers
        else:
            n_layers += _add_listeners(value, listener, alone=alone)
    return n_layers
