"""Write a training config without the components that a corpus has no annotation for."""

from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.tokens import DocBin
from spacy.util import load_config
from thinc.api import Config
from wasabi import msg

# What components assign, and spaCy's names of the annotation they learn it from
ANNOTATION = {
    "token.tag": "TAG",
    "token.pos": "POS",
    "token.morph": "MORPH",
    "token.lemma": "LEMMA",
    "token.dep": "DEP",
    "doc.ents": "ENT_IOB",
}


def configure_cli(
    input_path: Annotated[Path, typer.Argument(help="Training config")],
    output_path: Annotated[Path, typer.Argument(help="Training config to write")],
    corpus: Annotated[Path, typer.Argument(help="File .spacy to train on")],
) -> None:
    """Write a training config without the components that a corpus has no annotation for."""
    config, dropped = configure(input_path, corpus)
    output_path.parent.mkdir(parents=True, exist_ok=True)
    config.to_disk(output_path)
    msg.good(f"{output_path}: {', '.join(config['nlp']['pipeline'])}")
    for name in dropped:
        msg.warn(f"Without {name}: {corpus} has no annotation for it")


def configure(config_path: Path, corpus: Path) -> tuple[Config, list[str]]:
    """Remove the components that a corpus has no annotation for from a training config.

    config_path (Path): The training config.
    corpus (Path): The .spacy file.
    RETURNS (tuple[Config, list[str]]): The config without them, and their names.
    """
    config = load_config(config_path, interpolate=False)
    nlp = spacy.blank("xx")
    docs = list(DocBin().from_disk(corpus).get_docs(nlp.vocab))
    found = {
        name for name, attr in ANNOTATION.items() if any(doc.has_annotation(attr) for doc in docs)
    }
    dropped = []
    for name in list(config["nlp"]["pipeline"]):
        assigned = set(nlp.get_factory_meta(config["components"][name]["factory"]).assigns)
        if assigned & set(ANNOTATION) and not assigned & found:
            config["nlp"]["pipeline"].remove(name)
            del config["components"][name]
            for component in config["components"].values():
                component.get("loss_weights", {}).pop(name, None)
            annotating = config["training"]["annotating_components"]
            config["training"]["annotating_components"] = [n for n in annotating if n != name]
            dropped.append(name)
    return config, dropped


if __name__ == "__main__":
    typer.run(configure_cli)
