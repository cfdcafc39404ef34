"""Initialise a language model for pretraining: count words, and make or load its weights."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spacy.vocab import Vocab
from thinc.api import Model, fix_random_seed

from ..layers.bilm import get_embed
from ..layers.lm import get_vocabulary, set_vocabulary
from ..layers.lm_weights import hash_weights, load_weights
from ..layers.word_features import learn_words
from .processes import Processes
from .settings import LMSettings
from .text_files import find_files
from .vocabulary import Counts, count_words


def initialize_model(
    model: Model,
    vocab: Vocab,
    settings: LMSettings,
    texts: Iterable[list[str]],
    path: Path,
    processes: Processes,
    *,
    resume: bool,
) -> Counts:
    """Initialise a model.

    model (Model): The `spacy-rnn.BiLM.v1` layer.
    vocab (Vocab): The vocab of its pipeline.
    settings (LMSettings): The settings.
    texts (Iterable[List[str]]): The words of each text, to count unless the file has their counts.
    path (Path): The file for the counts.
    processes (Processes): The processes. The first one counts.
    resume (bool): Whether the file must have the counts.
    RETURNS (Counts): The counts.
    RAISES (ValueError): If the weights don't fit, or the file must have the counts and has others.
    """
    fix_random_seed(settings.seed)
    model.initialize()
    # Counting can take long: find wrong weights first.
    if settings.weights:
        load_weights(model, Path(settings.weights), with_output=True)
    if processes.is_first:
        files = find_files(settings.train)
        source: list[Any] = [[file.name, file.stat().st_size] for file in files]
        if settings.weights:
            source.append(hash_weights(Path(settings.weights)))
        size = 0 if settings.weights else settings.vocabulary_size
        stored = Counts.load(path) if path.is_file() else None
        if stored is None or (stored.source, stored.size) != (source, size):
            if resume:
                raise ValueError(
                    f"Can't resume in '{path.parent}': the run began with other texts or weights, "
                    "or another vocabulary_size. Choose another directory, or remove this one."
                )
            counts = count_words(texts, size, source)
            if settings.weights:
                counts = replace(counts, vocabulary=get_vocabulary(model))
            counts.save(path)
    processes.wait()
    counts = Counts.load(path)
    if not settings.weights:
        set_vocabulary(model, counts.vocabulary)
        learn_words(get_embed(model), counts.vocabulary[2:], vocab)
    return counts
