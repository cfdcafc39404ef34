"""The config of a pretrained language model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spacy.util import dict_to_dot, load_config, set_dot_to_object
from thinc.api import Config

_ARCHITECTURE = "spacy-rnn.BiLM.v1"
_FACTORIES = ("bilm", "rnn_lm")
# Settings of a model's block that its weights do not depend on.
_FREE = ("dropout", "word_dropout", "grad_clip_norm", "grad_clip_value", "mixed_precision")


def read_config(path: Path) -> Config:
    """Read the config of a pretrained language model.

    path (Path): A pipeline that `spacy rnn pretrain` saved, or a config for that command.
    RETURNS (Config): The config, its variables resolved.
    RAISES (ValueError): If there is none.
    """
    file = path / "config.cfg" if path.is_dir() else path
    try:
        return load_config(file, interpolate=True)
    except (OSError, ValueError) as err:
        raise ValueError(
            f"Can't read the config of a language model from '{file}': {err}. Name the directory "
            "of a pipeline that `spacy rnn pretrain` saved, such as its model-best."
        ) from err


def find_components(config: Config) -> list[str]:
    """RETURNS (List[str]): The names of a config's components that are language models."""
    return [
        name
        for name, block in config["components"].items()
        if block.get("factory") in _FACTORIES
        or block.get("model", {}).get("@architectures") == _ARCHITECTURE
    ]


def find_component(config: Config, path: Path) -> str:
    """Find the language model of a config.

    config (Config): The config.
    path (Path): Where it comes from, for errors.
    RETURNS (str): The name of the component.
    RAISES (ValueError): If there is none, or several.
    """
    names = find_components(config)
    if len(names) != 1:
        raise ValueError(
            f"The pipeline in '{path}' must have one language model; it has "
            f"{', '.join(map(repr, names)) or 'none'}."
        )
    return names[0]


def adopt_settings(
    config: Config, name: str, weights: Path, overrides: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Give a language model the settings of the pretrained one whose weights it goes on with, and
    its pipeline the same language and tokenizer. Settings that the weights do not depend on stay.

    config (Config): The config, its variables resolved. It is changed in place.
    name (str): The component of the language model.
    weights (Path): A pipeline that `spacy rnn pretrain` saved.
    overrides (Dict[str, Any]): What the command line says of the config, by dotted names.
    RETURNS (Dict[str, Tuple[Any, Any]]): For each setting that changed, its value before and after.
    RAISES (ValueError): If an override contradicts the weights.
    """
    source = read_config(weights)
    before = _flatten(config, name)
    block = source["components"][find_component(source, weights)]["model"]
    stored = dict_to_dot(block)
    prefix = f"components.{name}.model."
    for setting, value in before.items():
        key = setting.removeprefix(prefix)
        if key in stored and _is_free(key):
            set_dot_to_object(block, key, value)
    config["components"][name]["model"] = block
    for key in ("lang", "tokenizer"):
        is_given = any(setting.startswith(f"nlp.{key}") for setting in overrides)
        if key in source["nlp"] and not is_given:
            config["nlp"][key] = source["nlp"][key]
    after = _flatten(config, name)
    for setting, value in overrides.items():
        is_fixed = setting.startswith(prefix) and not _is_free(setting)
        if is_fixed and value != after.get(setting):
            raise ValueError(
                f"Can't go on with the weights in '{weights}': they were made with {setting} = "
                f"{after.get(setting)!r}, but the command line says {value!r}. Leave it out."
            )
    return {
        setting: (value, after.get(setting))
        for setting, value in before.items()
        if value != after.get(setting)
    }


def _is_free(setting: str) -> bool:
    return setting.rsplit(".", 1)[-1] in _FREE


def _flatten(config: Config, name: str) -> dict[str, Any]:
    """What a config says of a language model, and of the words it reads, by dotted names."""
    nlp = {key: config["nlp"][key] for key in ("lang", "tokenizer") if key in config["nlp"]}
    model = config["components"][name].get("model", {})
    return dict_to_dot({"nlp": nlp, "components": {name: {"model": model}}})
