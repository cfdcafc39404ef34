"""The static vectors of words."""

from collections.abc import Sequence

import numpy
from spacy.tokens import Doc
from spacy.vectors import Mode, Vectors
from spacy.vocab import Vocab
from thinc.api import get_array_module
from thinc.types import ArrayXd

from .lexemes import Lexemes


def get_static_vectors(docs: Sequence[Doc], lexemes: Lexemes, width: int) -> ArrayXd:
    """RETURNS (ArrayXd): The vectors of a batch's lexemes in float32, zeros if there is none.
    (lexemes, width)
    """
    vocab_of_doc = numpy.asarray([id(doc.vocab) for doc in docs], dtype=numpy.uint64)
    vocab_of_lexeme = vocab_of_doc[lexemes.docs]
    parts, places = [], []
    for vocab_id, vocab in {id(doc.vocab): doc.vocab for doc in docs}.items():
        places.append(numpy.flatnonzero(vocab_of_lexeme == vocab_id))
        parts.append(_look_up(vocab, lexemes.vector_keys[places[-1]], width))
    order = numpy.argsort(numpy.concatenate(places))
    return get_array_module(parts[0]).concatenate(parts)[order]


def _look_up(vocab: Vocab, keys: numpy.ndarray, width: int) -> ArrayXd:
    if vocab.vectors_length != width:
        raise ValueError(
            f"Setting include_static_vectors = True: the model was initialised with vectors of "
            f"width {width}, but the vocab's have width {vocab.vectors_length}. Use the pipeline "
            "with the vectors it was trained with."
        )
    found = vocab.vectors.get_batch(keys.tolist()).astype("float32")
    if isinstance(vocab.vectors, Vectors) and vocab.vectors.mode == Mode.default:
        # A missing vector has row -1, the last word's.
        found[vocab.vectors.find(keys=keys) < 0] = 0
    return found
