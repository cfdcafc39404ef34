"""Prediction of a `Seq2Seq` on arrays and compiled kernels. The result for a word is the same to
the bit in every batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...kernels._kernels import LANES, Layer, Sequences, mix_rows, score_labels
from ...kernels.layout import lay_out_layer, lay_out_linear
from ..linear import project
from ..rnn.cells import CELLS
from ..rnn.compiled_predict import get_last_saved, predict_encoder
from ..weights import Weights
from .alphabet import UNKNOWN
from .search import read

LEAST = np.float32(1e-30)
_LINEAR = ("context", "condition", "first", "mix", "output", "attention.key", "attention.query")


def predict_strings(
    weights: Weights,
    settings: Mapping[str, Any],
    X: np.ndarray,
    *,
    tags: np.ndarray,
    chars: np.ndarray,
    copied: np.ndarray,
    lengths: Sequence[int],
    inputs: np.ndarray,
    symbols: np.ndarray,
    target_lengths: list[int],
    **unused: Any,
) -> np.ndarray:
    """Compute the log-probability of each symbol of given strings, as `Seq2Seq` does.

    weights (Weights): The parameters of a `Seq2Seq`.
    settings (Mapping[str, Any]): Its settings.
    X, tags, chars, copied, lengths, inputs, symbols, target_lengths: As in `Seq2Seq.forward`.
    RETURNS (ndarray): The log-probabilities. (N,)
    """
    decoder = ArrayDecoder(weights, settings)
    memory = decoder.encode(decoder.get_codes(X), tags, chars, copied, lengths)
    return read(decoder, memory, inputs, symbols, target_lengths)[0]


@dataclass(frozen=True)
class ArrayMemory:
    """What the decoder of some words attends to. Lengths are filled up to whole vectors of the
    kernel, so that sums are the same to the bit whatever the longest word.

    values (ndarray): The encoder's states, zeros for padding. (words, length, width)
    keys (Optional[ndarray]): What additive attention compares. (words, length, width)
    mask (ndarray): 0 where there is a symbol, -inf for padding. (words, length)
    copied (ndarray): The symbol that copying writes, 0 for padding. (words, length)
    gates (ndarray): What the condition adds to the decoder's gates. (words, gates)
    state (ndarray): The decoder's first state. (words, 1, 2 x units)
    """

    values: np.ndarray
    keys: np.ndarray | None
    mask: np.ndarray
    copied: np.ndarray
    gates: np.ndarray
    state: np.ndarray

    def select(self, words: np.ndarray) -> "ArrayMemory":
        """RETURNS (ArrayMemory): The memory of some of the words."""
        kept = {name: value[words] for name, value in vars(self).items() if value is not None}
        return replace(self, **kept)


@dataclass(frozen=True)
class _Layers:
    """The parameters, laid out. The linear layers by name, and the decoder: what its gates get from
    each symbol of the alphabet, and from the condition.
    """

    linear: dict[str, Layer]
    decoder: Layer
    condition: Layer
    char_gates: np.ndarray
    encoder: Weights


class ArrayDecoder:
    """A `Seq2Seq` on arrays.

    weights (Weights): Its parameters.
    settings (Mapping[str, Any]): Its settings.
    """

    def __init__(self, weights: Weights, settings: Mapping[str, Any]):
        self._weights, self._settings = weights, settings
        self._width, self._n_chars = settings["width"], settings["n_chars"]
        self._layers: _Layers = weights.cached("layers", lambda: _lay_out(weights, settings))

    def get_codes(self, X: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): The codes of vectors, each bit -1 or 1. float32, (words, bits)"""
        if not self._settings["context_bits"]:
            return np.zeros((len(X), 0), dtype=np.float32)
        return np.where(self._run("context", X) > 0, np.float32(1), np.float32(-1))

    def encode(
        self,
        codes: np.ndarray,
        tags: np.ndarray,
        chars: np.ndarray,
        copied: np.ndarray,
        lengths: Sequence[int],
    ) -> ArrayMemory:
        """RETURNS (ArrayMemory): What the decoder attends to. See `Seq2Seq.forward` for the
        arguments.
        """
        settings = {**self._settings, "nO": self._width, "bidirectional": True}
        settings |= {"residual": False, "layer_norm": False}
        X = self._weights["chars.weight"][chars]
        S = predict_encoder(self._layers.encoder, settings, X, lengths, int8=False)
        sizes = np.asarray(lengths, dtype=np.int64)[:, None]
        steps = np.arange(-(-int(sizes.max(initial=1)) // LANES) * LANES)
        starts = np.cumsum(sizes)[:, None] - sizes
        places, is_symbol = starts + np.minimum(steps, sizes - 1), steps < sizes
        half = self._width // 2
        ends = (starts + sizes - 1)[:, 0]
        last = np.concatenate([S[ends, :half], S[starts[:, 0], half:]], axis=1)
        condition = np.zeros((len(sizes), X.shape[1]), dtype=np.float32)
        if "condition.weight" in self._weights:
            condition = self._run("condition", np.concatenate([codes, tags], axis=1))
        (gates,) = project([self._layers.condition], np.ascontiguousarray(condition))
        first = np.tanh(self._run("first", np.concatenate([last, condition], axis=1)))
        values = S.take(places, axis=0)
        values[~is_symbol] = 0
        return ArrayMemory(
            values,
            self._run("attention.key", S)[places]
            if "attention.query" in self._layers.linear
            else None,
            np.where(is_symbol, np.float32(0), np.float32(-np.inf)),
            copied[places] * is_symbol,
            gates,
            self._pad_state(first)[:, None],
        )

    def step(
        self, memory: ArrayMemory, symbols: np.ndarray, state: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take one step with some hypotheses of each word. See `Decoder`."""
        n, size = symbols.shape
        symbols = np.where(symbols < self._n_chars, symbols, UNKNOWN)
        gates = self._layers.char_gates[symbols] + memory.gates[:, None]
        H, after = self._run_cell(gates.reshape(n * size, -1), state.reshape(n * size, -1))
        attention = self._attend(memory, H, size)
        context = np.empty((n, size, self._width), dtype=np.float32)
        for i in range(size):
            context[:, i] = mix_rows(np.ascontiguousarray(attention[:, i]), memory.values)
        mixed = np.concatenate([H, context.reshape(n * size, -1)], axis=1)
        probs = self._get_probs(np.tanh(self._run("mix", mixed)), memory, attention)
        return np.log(probs), attention, after.reshape(n, size, -1)

    def _run(self, name: str, X: np.ndarray) -> np.ndarray:
        layer = self._layers.linear[name]
        (Y,) = project([layer], np.ascontiguousarray(X, dtype=np.float32))
        return Y[:, : layer.hidden]

    def _run_cell(self, gates: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (Tuple[ndarray, ndarray]): The hidden states, (rows, width), and the states as
        the kernel takes them, (rows, 2 x units).
        """
        layer, n = self._layers.decoder, len(gates)
        rows = np.arange(n, dtype=np.int64)
        after = np.zeros((n, 2 * layer.units), dtype=np.float32)
        saved = np.empty((n, layer.saved_width), dtype=np.float32)
        sequences = Sequences(rows, np.ones(n, dtype=np.int64))
        layer.forward(sequences, False, after, 0, gates=gates, state=state, saved=saved)
        after[:, layer.units :] = get_last_saved(saved, layer)
        return after[:, : layer.hidden], after

    def _pad_state(self, first: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): States as the kernel takes them. (words, 2 x units)"""
        units, width = self._layers.decoder.units, self._width
        padded = np.zeros((len(first), 2 * units), dtype=np.float32)
        for i in range(first.shape[1] // width):
            padded[:, i * units : i * units + width] = first[:, i * width : (i + 1) * width]
        return padded

    def _attend(self, memory: ArrayMemory, H: np.ndarray, size: int) -> np.ndarray:
        """RETURNS (ndarray): The attention weights. (words, hypotheses, length)"""
        n, length = memory.mask.shape
        weights = np.empty((n, size, length), dtype=np.float32)
        rows = np.arange(n, dtype=np.int64)
        zeros, ones = np.zeros_like(rows), np.ones((1, length), dtype=np.float32)
        queries = H
        for name in ("attention.query", "attention.key"):
            # The map of the encoder's states is applied to the query: it is one row, they are many.
            if name in self._layers.linear and queries is H:
                queries = self._run(name, H)
        queries = np.ascontiguousarray(queries)
        for i in range(size):
            if memory.keys is not None:
                mixed = np.tanh(memory.keys + queries[i::size].reshape(n, 1, -1))
                vector = self._weights["attention.score.weight"]
                scores = score_labels(mixed.reshape(n, -1), vector, zeros, length)
            else:
                values = memory.values.reshape(n, -1)
                scores = score_labels(values, queries, rows * size + i, length)
            scores += memory.mask
            scores -= scores.max(axis=1, keepdims=True)
            np.exp(scores, out=scores)
            # By the kernel, as the order in which numpy adds depends on the length.
            weights[:, i] = scores / score_labels(scores, ones, zeros, 1)
        return weights

    def _get_probs(
        self, mixed: np.ndarray, memory: ArrayMemory, attention: np.ndarray
    ) -> np.ndarray:
        """RETURNS (ndarray): The probabilities of all symbols. (words, hypotheses, symbols)"""
        n, size, length = attention.shape
        scores = self._run("output", mixed)
        own = scores[:, : self._n_chars].copy()
        own[:, UNKNOWN] = -np.inf
        own -= own.max(axis=1, keepdims=True)
        np.exp(own, out=own)
        own /= own.sum(axis=1, keepdims=True)
        n_symbols = self._n_chars + length
        probs = np.zeros((n * size, n_symbols), dtype=np.float32)
        if not self._settings["copy"]:
            probs[:, : self._n_chars] = own
            return np.maximum(probs, LEAST).reshape(n, size, n_symbols)
        gate = 0.5 * np.tanh(0.5 * scores[:, self._n_chars :]) + 0.5
        probs[:, : self._n_chars] = gate * own
        copied = (1 - gate) * attention.reshape(n * size, length)
        places = np.arange(n * size)[:, None] * n_symbols + memory.copied.repeat(size, axis=0)
        added = np.bincount(places.ravel(), weights=copied.ravel(), minlength=probs.size)
        probs += added.reshape(probs.shape)
        return np.maximum(probs, LEAST).reshape(n, size, n_symbols)


def _lay_out(weights: Weights, settings: Mapping[str, Any]) -> _Layers:
    linear = {}
    for name in _LINEAR:
        if f"{name}.weight" in weights:
            W, bias = weights[f"{name}.weight"], f"{name}.bias"
            if name == "attention.key" and settings["attention"] == "general":
                W = W.T
            b = weights[bias] if bias in weights else np.zeros(len(W), dtype=np.float32)
            linear[name] = lay_out_linear(W, b)
    cell = CELLS[settings["cell"]]
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "extra"][: 4 + bool(cell.extra)]
    W, *rest = (weights[f"decoder.{name}_l0"] for name in names)
    assert cell.kernel is not None
    char_width = settings["char_width"]
    decoder = lay_out_layer(cell.kernel, np.ascontiguousarray(W[:, :char_width]), *rest)
    # The condition's share of the gates. The share of the symbols has the biases.
    zeros = np.zeros(len(W), dtype=np.float32)
    rest[1:3] = zeros, zeros
    condition = lay_out_layer(cell.kernel, np.ascontiguousarray(W[:, char_width:]), *rest)
    (char_gates,) = project([decoder], weights["chars.weight"])
    prefix = "encoder."
    encoder = {
        name.removeprefix(prefix): value
        for name, value in weights.to_dict().items()
        if name.startswith(prefix)
    }
    return _Layers(linear, decoder, condition, char_gates, Weights(encoder))
