"""Add a pretrained language model to the config of a pipeline: every embedding layer of ours gets
the model's layers beside it, or is replaced by them.
"""

from pathlib import Path
from typing import Any

import typer
from spacy.util import load_config
from thinc.api import Config

HERE = Path(__file__).resolve().parent
BILM_CONFIG = HERE.parents[2] / "configs" / "bilm.cfg"


def main(
    config_path: Path = typer.Argument(..., help="Training config", exists=True),
    output: Path = typer.Argument(..., help="Where to put the config with the language model"),
    bilm: Path = typer.Option(BILM_CONFIG, help="The config it was pretrained with", exists=True),
    width: int = typer.Option(0, help="Width to map the mix of layers to; 0 leaves it as it is"),
    dropout: float = typer.Option(0.5, help="Dropout of the mix of layers"),
    alone: bool = typer.Option(False, help="Without the embedding layer that was there"),
) -> None:
    """Write the config."""
    config = add_bilm(
        load_config(config_path, interpolate=False),
        load_config(bilm, interpolate=False),
        width=width or None,
        dropout=dropout,
        alone=alone,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    config.to_disk(output)


def add_bilm(
    config: Config,
    bilm: Config,
    *,
    width: int | None = None,
    dropout: float | None = 0.5,
    alone: bool = False,
) -> Config:
    """Add a language model to a config.

    config (Config): The training config.
    bilm (Config): The config the model was pretrained with. Its weights are read from
        `paths.bilm`.
    width (int | None): The width to map the mix of layers to. None: as wide as they are.
    dropout (float | None): The rate of dropout of the mix.
    alone (bool): Whether the mix takes the place of the embedding layer, and is not beside it.
    RETURNS (Config): The new config.
    """
    config = config.copy()
    listener = {
        "@architectures": "spacy-rnn.BiLMListener.v1",
        "width": width,
        "dropout": dropout,
        "upstream": "*",
    }
    for component in config["components"].values():
        _add_listener(component, listener, alone=alone)
        if "members" in component.get("model", {}):
            # Networks that listen can't be copied.
            component["model"]["members"] = 1
    config["paths"]["bilm"] = None
    config["nlp"]["pipeline"] = ["bilm", *config["nlp"]["pipeline"]]
    component = dict(bilm["components"]["bilm"])
    config["components"] = {"bilm": component, **config["components"]}
    initialize = config.setdefault("initialize", {})
    initialize.setdefault("components", {})["bilm"] = {"weights": "${paths.bilm}"}
    return config


def _add_listener(block: dict[str, Any], listener: dict[str, Any], *, alone: bool) -> None:
    for key, value in block.items():
        if not isinstance(value, dict):
            continue
        if key == "embed" and str(value.get("@architectures")).startswith("spacy-rnn."):
            block[key] = dict(listener)
            if not alone:
                parts = {"lexemes": value, "context": dict(listener)}
                block[key] = {"@layers": "concatenate.v1", "*": parts}
            if block.get("@architectures") == "spacy-rnn.LMTok2Vec.v1":
                # Nothing is left to learn where the next word is already known.
                for name in [name for name in block if name.startswith("lm_")]:
                    del block[name]
                block["@architectures"] = "spacy.Tok2Vec.v2"
                return
        else:
            _add_listener(value, listener, alone=alone)


if __name__ == "__main__":
    typer.run(main)
