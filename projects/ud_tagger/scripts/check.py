"""Check that corpora have the annotation that the components of a config learn."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.tokens import DocBin, Token
from spacy.util import load_config
from wasabi import msg

# What a token has of each CoNLL-U column; nothing where the column is "_".
COLUMNS: dict[str, Callable[[Token], object]] = {
    "XPOS": lambda token: token.tag_,
    "UPOS": lambda token: token.pos_,
    "FEATS": lambda token: str(token.morph),
    "LEMMA": lambda token: token.lemma_,
    "DEPREL": lambda token: token.dep_,
}
# The columns a trainable component learns from. It needs at least one of them.
NEEDS = {
    "tagger": ("XPOS",),
    "rnn_tagger": ("XPOS",),
    "morphologizer": ("UPOS", "FEATS"),
    "rnn_morphologizer": ("UPOS", "FEATS"),
    "parser": ("DEPREL",),
    "trainable_lemmatizer": ("LEMMA",),
}


class CheckError(ValueError):
    """A config and a corpus that do not fit. The message says what to do."""


def check_cli(
    config: Annotated[Path, typer.Argument(help="Training config")],
    corpora: Annotated[list[Path], typer.Argument(help="Files .spacy to train or evaluate on")],
) -> None:
    """Check that .spacy files have the annotation that a config's components learn."""
    try:
        for path in corpora:
            check(config, path)
    except CheckError as err:
        msg.fail(f"Can't use {config}", str(err), exits=1)


def check(config: Path, corpus: Path) -> None:
    """Check a corpus.

    config (Path): The training config.
    corpus (Path): The .spacy file.
    RAISES (CheckError): If the corpus lacks the annotation that a component learns, or the config
        is absent or broken.
    """
    docs = list(DocBin().from_disk(corpus).get_docs(spacy.blank("xx").vocab))
    for name, columns in get_columns(config).items():
        if not any(COLUMNS[column](token) for column in columns for doc in docs for token in doc):
            hint = ""
            if columns == ("XPOS",):
                hint = ", or train on UPOS and FEATS: `--vars.config configs/morphologizer.cfg`"
            raise CheckError(
                f"{corpus} has no {' and '.join(columns)} ('_' throughout the treebank), which "
                f"component '{name}' learns. Choose another treebank or config{hint}."
            )


def get_columns(config_path: Path) -> dict[str, tuple[str, ...]]:
    """Find what the components of a config learn from.

    config_path (Path): The training config.
    RETURNS (dict[str, tuple[str, ...]]): For each component, columns; it needs one of them.
    RAISES (CheckError): The config is absent or broken.
    """
    if not config_path.is_file():
        raise CheckError(f"The config {config_path} does not exist: check `--vars.config`.")
    try:
        config = load_config(config_path, interpolate=False)
    except ValueError as err:
        raise CheckError(f"The config {config_path} can't be read: {err}") from err
    factories = {name: block.get("factory") for name, block in config["components"].items()}
    return {name: NEEDS[factory] for name, factory in factories.items() if factory in NEEDS}


if __name__ == "__main__":
    typer.run(check_cli)
