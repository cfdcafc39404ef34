"""Prediction of a `LexemeEmbedding` on arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...kernels._kernels import sum_rows
from ...kernels.layout import lay_out_linear
from ..linear import normalise, project
from ..weights import Weights


def predict_lexemes(
    weights: Weights,
    settings: Mapping[str, Any],
    *,
    attrs: np.ndarray,
    affixes: np.ndarray,
    ngrams: np.ndarray,
    ngram_starts: np.ndarray,
    tokens: np.ndarray,
    words: np.ndarray,
    vectors: np.ndarray | None = None,
    **unused: Any,
) -> np.ndarray:
    """Embed the tokens of a batch, computing each distinct lexeme once. No word is masked.

    weights (Weights): The parameters of a `LexemeEmbedding`.
    settings (Mapping[str, Any]): Its settings.
    attrs, affixes, ngrams, ngram_starts, tokens, words, vectors: As in `LexemeEmbedding.forward`.
    RETURNS (ndarray): The embeddings. (N, width)
    """
    is_known = weights["known_words.bits"][words].all(axis=1)
    parts = [_add_up(weights[f"attrs.{i}.weight"], rows) for i, rows in enumerate(attrs)]
    parts[0] *= is_known[:, None]
    if settings["n_affixes"]:
        rows = affixes.reshape(-1, affixes.shape[2])
        parts.append(_add_up(weights["affixes.weight"], rows).reshape(len(affixes), -1))
    if settings["ngram_rows"]:
        parts.append(_average(weights["ngrams.weight"], ngrams, ngram_starts))
    if vectors is not None:
        parts.append(vectors)
    features = np.concatenate(parts, axis=1)
    if settings["width"] is not None:
        features = _mix(weights, settings, features)
    return features[tokens]


def _add_up(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(lexemes, rows) to (lexemes, width)"""
    return sum_rows(table, rows.ravel(), np.arange(len(rows)) * rows.shape[1])


def _average(table: np.ndarray, rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The mean of each lexeme's rows, zero if it has none. (M,) to (lexemes, width)"""
    means = sum_rows(table, rows, starts)
    means /= np.maximum(np.diff(starts, append=len(rows)), 1)[:, None].astype(np.float32)
    return means


def _mix(weights: Weights, settings: Mapping[str, Any], features: np.ndarray) -> np.ndarray:
    mix = weights.cached("mix", lambda: lay_out_linear(weights["mix.weight"], weights["mix.bias"]))
    pieces, width = settings["maxout_pieces"], settings["width"]
    (mixed,) = project([mix], features)
    mixed = mixed[:, : pieces * width].reshape(-1, pieces, width).max(axis=1)
    return normalise(mixed, weights["norm.weight"], weights["norm.bias"])
