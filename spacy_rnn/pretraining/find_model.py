"""Load pipelines with a language model."""

from typing import Any

import spacy
from spacy.cli._util import setup_gpu
from spacy.language import Language
from spacy.util import load_model_from_config
from thinc.api import Config

from ..layers.lm import Scorer, get_vocabulary
from .pretrained_config import find_component


def load_pipeline(config: Config) -> Language:
    """RETURNS (Language): The pipeline of a config for pretraining, not initialised. Its own config
    is interpolated, as variables would be lost when a component is renamed or copied.
    """
    sections = ("nlp", "components", "paths", "system", "variables")
    config = config.interpolate()
    return load_model_from_config(
        Config({name: config[name] for name in sections if name in config}), auto_fill=True
    )


def load_scorer(pipeline: str, component: str | None, use_gpu: int) -> tuple[Language, Scorer]:
    """Load a pipeline and its language model.

    pipeline (str): A package, or a directory.
    component (Optional[str]): The name of the component. None if there is only one.
    use_gpu (int): The ID of the GPU. -1 is the CPU.
    RETURNS (Tuple[Language, Scorer]): The pipeline, and the scorer of words.
    RAISES (ValueError): If there is no language model that can predict words.
    """
    setup_gpu(use_gpu, silent=True)
    nlp = spacy.load(pipeline)
    found: Any = nlp.get_pipe(find_component(nlp.config, component))
    if not get_vocabulary(found.model):
        raise ValueError(
            f"Component {found.name!r} can't predict words: its model was not pretrained, or was "
            "loaded without its vocabulary. Use the pipeline that `spacy rnn pretrain` saved."
        )
    return nlp, Scorer(found.model, nlp.vocab)
