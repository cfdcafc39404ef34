"""The language model of a pipeline."""

from typing import Any

import spacy
from spacy.cli._util import setup_gpu
from spacy.language import Language
from spacy.util import load_model_from_config
from thinc.api import Config

from ..layers.lm import Scorer, get_vocabulary

# The layer that `spacy-rnn.BiLM.v1` makes.
_LAYER = "bilm"


def load_pipeline(config: Config) -> Language:
    """Make the pipeline of a config for pretraining, without the data that training needs. Its own
    config has no variables, which would lead nowhere once a component is renamed or copied.

    config (Config): The config.
    RETURNS (Language): The pipeline, not initialised.
    """
    sections = ("nlp", "components", "paths", "system", "variables")
    config = config.interpolate()
    return load_model_from_config(
        Config({name: config[name] for name in sections if name in config}), auto_fill=True
    )


def find_language_model(nlp: Language, name: str | None = None) -> Any:
    """Find the component of a pipeline that has a language model.

    nlp (Language): The pipeline.
    name (Optional[str]): The component's name; None if there is only one.
    RETURNS (TrainablePipe): The component.
    RAISES (ValueError): If there is none, or several.
    """
    names = [
        other
        for other in nlp.component_names
        if getattr(getattr(nlp.get_pipe(other), "model", None), "name", None) == _LAYER
    ]
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        found = ", ".join(repr(other) for other in names) or "none"
        asked = "one component" if name is None else f"a component {name!r}"
        raise ValueError(
            f"The pipeline needs {asked} with the architecture spacy-rnn.BiLM.v1; it has {found}."
        )
    return nlp.get_pipe(name)


def load_scorer(pipeline: str, component: str | None, use_gpu: int) -> tuple[Language, Scorer]:
    """Load a pipeline and the language model in it.

    pipeline (str): The name of a package, or a directory.
    component (Optional[str]): The name of the component; None if there is only one.
    use_gpu (int): The number of the GPU; -1 is the CPU.
    RETURNS (Tuple[Language, Scorer]): The pipeline, and what scores words.
    RAISES (ValueError): If there is no language model that can predict words.
    """
    setup_gpu(use_gpu, silent=True)
    nlp = spacy.load(pipeline)
    found = find_language_model(nlp, component)
    if not get_vocabulary(found.model):
        raise ValueError(
            f"Component {found.name!r} can't predict words: its model was not pretrained, or its "
            "vocabulary was left out when its weights were loaded. Use the pipeline that `spacy "
            "rnn pretrain` saved."
        )
    return nlp, Scorer(found.model, nlp.vocab)
