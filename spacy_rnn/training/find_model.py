"""The language model of a pipeline."""

from typing import Any

from spacy.language import Language
from spacy.util import load_model_from_config
from thinc.api import Config

from ..layers.lm import get_vocabulary

# The layer that `spacy-rnn.BiLM.v1` makes.
_LAYER = "bilm"


def load_pipeline(config: Config) -> Language:
    """Make the pipeline of a config for pretraining, without the data that training needs.

    config (Config): The config.
    RETURNS (Language): The pipeline, not initialised.
    """
    sections = ("nlp", "components", "paths", "system", "variables")
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


def require_vocabulary(component: Any) -> list[str]:
    """RETURNS (List[str]): The words that a component's language model can predict.
    RAISES (ValueError): If it has none.
    """
    words = get_vocabulary(component.model)
    if not words:
        raise ValueError(
            f"Component {component.name!r} can't predict words: its model was not pretrained, or its "
            "vocabulary was left out when its weights were loaded. Use the pipeline that `spacy rnn "
            "pretrain` saved."
        )
    return words
