"""Pretrained weights of language models."""

import hashlib
from pathlib import Path

import spacy
from thinc.api import Model

from .bilm import get_embed, get_output, is_language_model
from .torch_shim import get_shim

_HINT = "Name the directory of a pipeline that `spacy rnn pretrain` saved, such as its model-best."


def load_weights(model: Model, path: Path, *, with_output: bool = False) -> None:
    """Load the weights of a pretrained language model.

    model (Model): What `spacy-rnn.BiLM.v1` returned, initialised.
    path (Path): A pipeline that `spacy rnn pretrain` saved.
    with_output (bool): Whether to load the softmax and its vocabulary too.
    RAISES (ValueError): If there is none, or its settings are others than the model's.
    """
    try:
        nlp = spacy.load(path)
    except (OSError, ValueError) as err:
        raise ValueError(f"Can't load pretrained weights from '{path}': {err}. {_HINT}") from err
    models = [getattr(pipe, "model", None) for _, pipe in nlp.pipeline]
    stored = [other for other in models if isinstance(other, Model) and is_language_model(other)]
    if len(stored) != 1:
        raise ValueError(
            f"Can't load pretrained weights from '{path}': it has {len(stored)} language models "
            f"among its components {nlp.component_names}, and should have one."
        )
    pairs = [(model, stored[0]), (get_embed(model), get_embed(stored[0]))]
    if with_output:
        outputs = (get_output(model), get_output(stored[0]))
        if get_shim(outputs[1]).weights is None:
            raise ValueError(
                f"Can't load pretrained weights from '{path}': its language model can't predict "
                "words, as its vocabulary was left out. Name what `spacy rnn pretrain` saved."
            )
        pairs.append(outputs)
        outputs[0].attrs.update(outputs[1].attrs)
    for target, source in pairs:
        try:
            get_shim(target).from_bytes(get_shim(source).to_bytes())
        except ValueError as err:
            raise ValueError(f"Can't load pretrained weights from '{path}'. {err}") from err


def hash_weights(path: Path) -> str:
    """Hash the weights of a pipeline that `spacy rnn pretrain` saved.

    path (Path): The pipeline.
    RETURNS (str): A hash of all weights in it.
    RAISES (ValueError): If there are none.
    """
    total = hashlib.md5(usedforsecurity=False)
    files = sorted(path.glob("*/model"))
    if not files:
        raise ValueError(
            f"Can't load pretrained weights from '{path}': there is no pipeline. {_HINT}"
        )
    for file in files:
        with open(file, "rb") as stream:
            while part := stream.read(1 << 20):
                total.update(part)
    return total.hexdigest()
