"""The config of a pretrained language model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spacy.util import dict_to_dot, load_config, set_dot_to_object
from thinc.api import Config

_ARCHITECTURE = "spacy-rnn.BiLM.v1"
_FACTORIES = ("bilm", "rnn_lm")
# Settings of the model that fit any weights.
_FREE = ("dropout", "word_dropout", "grad_clip_norm", "grad_clip_value", "mixed_precision", "int8")


def read_config(path: Path) -> Config:
    """Read the config of a pretrained language model.

    path (Path): A pipeline that `spacy rnn pretrain` saved, or a config for that command.
    RETURNS (Config): The config, interpolated.
    RAISES (ValueError): If it can't be read.
    """
    file = path / "config.cfg" if path.is_dir() else path
    try:
        return load_config(file, interpolate=True)
    except (OSError, ValueError) as err:
        raise ValueError(
            f"Can't read the config of a language model from '{file}': {err}. Name the directory "
            "of a pipeline that `spacy rnn pretrain` saved, such as its model-best."
        ) from err


def find_component(config: Config, name: str | None = None, path: Path | None = None) -> str:
    """Find the language model of a config.

    config (Config): The config.
    name (Optional[str]): The name of the component. None if there is only one.
    path (Optional[Path]): The path of the config, for errors.
    RETURNS (str): The name of the component.
    RAISES (ValueError): If there is no such component, or several.
    """
    names = [
        other
        for other, block in config["components"].items()
        if block.get("factory") in _FACTORIES
        or block.get("model", {}).get("@architectures") == _ARCHITECTURE
    ]
    if name is None and len(names) == 1:
        return names[0]
    if name is None or name not in names:
        where = f" in '{path}'" if path else ""
        wanted = "one language model" if name is None else f"a language model {name!r}"
        raise ValueError(
            f"The pipeline{where} needs {wanted} ({_ARCHITECTURE}); it has "
            f"{', '.join(map(repr, names)) or 'none'}."
        )
    return name


def adopt_settings(
    config: Config, name: str, weights: Path, overrides: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Replace the settings of a language model with the settings of pretrained weights, and the
    language and tokenizer of its pipeline. Settings that fit any weights stay.

    config (Config): The config, interpolated. It is changed in place.
    name (str): The component of the language model.
    weights (Path): A pipeline that `spacy rnn pretrain` saved.
    overrides (Dict[str, Any]): The settings on the command line, by dotted names.
    RETURNS (Dict[str, Tuple[Any, Any]]): The old and the new value of each setting that changed.
    RAISES (ValueError): If an override contradicts the weights.
    """
    source = read_config(weights)
    before, prefix = dict_to_dot(config), f"components.{name}.model."
    block = source["components"][find_component(source, path=weights)]["model"]
    for key in dict_to_dot(block):
        if _is_free(key) and prefix + key in before:
            set_dot_to_object(block, key, before[prefix + key])
    config["components"][name]["model"] = block
    for key in ("lang", "tokenizer"):
        is_given = any(setting.startswith(f"nlp.{key}") for setting in overrides)
        if key in source["nlp"] and not is_given:
            config["nlp"][key] = source["nlp"][key]
    after = dict_to_dot(config)
    for setting, value in overrides.items():
        is_fixed = setting.startswith(prefix) and not _is_free(setting)
        if is_fixed and value != after.get(setting):
            raise ValueError(
                f"The weights in '{weights}' have {setting} = {after.get(setting)!r}, but the "
                f"command line says {value!r}. Leave it out."
            )
    return {
        setting: (value, after.get(setting))
        for setting, value in before.items()
        if value != after.get(setting)
    }


def _is_free(setting: str) -> bool:
    return setting.rsplit(".", 1)[-1] in _FREE
