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
    """Concatenate the layers of a language model to each of our embedding layers, or replace these.

    config (Config): The training config, not interpolated.
    weights (Path): A pipeline that `spacy rnn pretrain` saved, for `paths.bilm`. Or the config for
        that command, to train the model later: `paths.bilm` is null then.
    width (Optional[int]): Project the mix of layers to this width. None keeps its width.
    dropout (Optional[float]): The dropout of the mix. None follows `[training] dropout`.
    alone (bool): Whether to replace the embedding layers.
    RETURNS (Config): The new config.
    RAISES (ValueError): If the config has a language model or no embedding layer of ours, or
        `weights` has no language model.
    """
    config = config.copy()
    components = config.setdefault("components", {})
    for name, component in components.items():
        if NAME in (name, component.get("factory")):
            raise ValueError(f"The config already has a language model, the component {name!r}.")
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
            # Listeners can't be copied, so an ensemble becomes one network.
            component["model"]["members"] = 1
    if not n_layers:
        raise ValueError(
            "The config has no embedding layer spacy-rnn.LexemeEmbed.v1 or "
            "spacy-rnn.CharCNNEmbed.v1, to which a language model could be added. Start from one "
            "of the configs of spacy-rnn, or write the model of the component into the config."
        )
    pretrained = read_config(weights)
    block = pretrained["components"][find_component(pretrained, path=weights)]
    # The model may have been pretrained as "rnn_lm".
    config["components"] = {NAME: {**block, "factory": NAME}, **components}
    config["nlp"]["pipeline"] = [NAME, *config["nlp"]["pipeline"]]
    config.setdefault("paths", {})[NAME] = str(weights) if weights.is_dir() else None
    initialize = config.setdefault("initialize", {})
    initialize.setdefault("components", {})[NAME] = {"weights": f"${{paths.{NAME}}}"}
    return config


def _add_listeners(block: dict[str, Any], listener: dict[str, Any], *, alone: bool) -> int:
    """RETURNS (int): The number of embedding layers in the block."""
    n_layers = 0
    for key, value in list(block.items()):
        if not isinstance(value, dict):
            continue
        if key != "embed" or not str(value.get("@architectures")).startswith("spacy-rnn."):
            n_layers += _add_listeners(value, listener, alone=alone)
            continue
        n_layers += 1
        parts = {"lexemes": value, "context": dict(listener)}
        block[key] = parts["context"] if alone else {"@layers": "concatenate.v1", "*": parts}
        if block.get("@architectures") == "spacy-rnn.LMTok2Vec.v1":
            # The layers of a bidirectional model contain the words that this one would predict.
            for name in [name for name in block if name.startswith("lm_")]:
                del block[name]
            block["@architectures"] = "spacy.Tok2Vec.v2"
    return n_layers
