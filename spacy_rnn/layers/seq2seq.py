"""An encoder and a decoder over characters as a Thinc layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy
from thinc.api import Model
from thinc.types import Floats2d

from ..modules.seq2seq.alphabet import Alphabet
from ..modules.seq2seq.search import read, search
from .ragged import run_module
from .torch_shim import TorchShim, get_shim

# Words that are decoded side by side.
MAX_WORDS = 256
# Results that are kept for later batches.
MAX_CACHED = 50_000
_CHARS = "chars"


@dataclass
class Pairs:
    """Strings, and those to write from them.

    X (Floats2d): The vector of each word in context. (words, nI)
    tags (Floats2d): 1 for each of its tags, 0 for the others. (words, tags)
    words (List[str]): The strings to read.
    targets (List[str]): The strings to write.
    sampling (float): The rate of scheduled sampling in training.
    smoothing (float): The rate of label smoothing in training.
    """

    X: Floats2d
    tags: Any
    words: list[str]
    targets: list[str]
    sampling: float = 0.0
    smoothing: float = 0.0


def seq2seq(shim: TorchShim) -> Model[Pairs, Any]:
    """Write strings from strings with the network of a shim. `set_alphabet` goes before
    initialisation.

    shim (TorchShim): Builds a `Seq2Seq`, which needs `nI`, `n_chars` and `n_tags`.
    RETURNS (Model[Pairs, Floats1d]): The layer. Its output is the log-probability of each symbol of
        the targets.
    """
    return Model(
        shim.layer,
        forward,
        init=init,
        dims={"nI": None, "n_tags": None},
        attrs={_CHARS: "", "dropout_rate": 0.0},
        shims=[shim],
    )


def forward(model: Model[Pairs, Any], pairs: Pairs, is_train: bool) -> tuple[Any, Callable]:
    """Compute the log-probabilities of a batch, not an empty one. The callback maps their gradient
    to the gradient of the vectors.
    """
    alphabet = get_alphabet(model)
    sources = alphabet.encode(pairs.words)
    targets = alphabet.encode_targets(pairs.words, pairs.targets)
    options: dict[str, Any] = {}
    if is_train:
        options = {"dropout": model.attrs["dropout_rate"], "sampling": pairs.sampling}
        options |= {"smoothing": pairs.smoothing, "is_train": True}
    return run_module(
        model,
        pairs.X,
        is_train,
        tags=pairs.tags,
        chars=sources.chars,
        copied=sources.copied,
        lengths=sources.lengths,
        inputs=targets.inputs,
        symbols=targets.symbols,
        target_lengths=targets.lengths,
        **options,
    )


def init(model: Model[Pairs, Any], X: Any = None, Y: Any = None) -> None:
    """Make the module, once the dimensions are known."""
    if model.has_dim("nI") and model.has_dim("n_tags"):
        get_shim(model).initialize(
            nI=model.get_dim("nI"),
            n_chars=len(get_alphabet(model)),
            n_tags=model.get_dim("n_tags"),
        )


def set_alphabet(model: Model[Pairs, Any], chars: Sequence[str], n_tags: int) -> None:
    """Set the characters that can be written, and the number of tags."""
    model.attrs[_CHARS] = "".join(chars)
    model.set_dim("n_tags", n_tags, force=True)


def get_alphabet(model: Model[Pairs, Any]) -> Alphabet:
    """RETURNS (Alphabet): The characters that can be written."""
    return Alphabet(model.attrs[_CHARS])


def can_copy(model: Model[Pairs, Any]) -> bool:
    """RETURNS (bool): Whether characters that are not in the alphabet can be written."""
    return bool(get_shim(model).settings["copy"])


def get_codes(model: Model[Pairs, Any], X: Any) -> numpy.ndarray:
    """RETURNS (ndarray): The codes of vectors, each bit -1 or 1. (words, bits)"""
    codes: numpy.ndarray = _get_decoder(model).get_codes(X)
    return codes


def write_strings(
    model: Model[Pairs, Any],
    codes: numpy.ndarray,
    tags: numpy.ndarray,
    words: Sequence[str],
    max_growth: int,
    **options: Any,
) -> list[list[tuple[str, float]]]:
    """Write the best strings from strings. The result for a string does not depend on the others.

    model (Model): The layer.
    codes (ndarray): What `get_codes` returned. (words, bits)
    tags (ndarray): 1 for each of the tags, 0 for the others. (words, tags)
    words (Sequence[str]): The strings.
    max_growth (int): How many characters longer the result may be.
    options (Any): `beam_width`, `length_penalty` and `n_best` of `search`.
    RETURNS (List[List[Tuple[str, float]]]): For each string the best results with their
        probabilities, best first.
    """
    decoder, alphabet = _get_decoder(model), get_alphabet(model)
    results: list[list[tuple[str, float]]] = [[] for _ in words]
    # Words of similar length end at about the same step.
    order = sorted(range(len(words)), key=lambda i: len(words[i]))
    for begin in range(0, len(order), MAX_WORDS):
        part = order[begin : begin + MAX_WORDS]
        some = [words[i] for i in part]
        sources = alphabet.encode(some)
        memory = decoder.encode(
            codes[part], tags[part], sources.chars, sources.copied, sources.lengths
        )
        limits = numpy.asarray(sources.lengths) - 1 + max_growth
        found = search(decoder, memory, limits, **options)
        for i, word, rows, logs in zip(part, some, found.symbols, found.logs, strict=True):
            results[i] = [
                (alphabet.decode(row[: row.argmin()], word), float(numpy.exp(log)))
                for row, log in zip(rows, logs, strict=True)
                if log > -numpy.inf
            ]
    return results


def align(
    model: Model[Pairs, Any], codes: numpy.ndarray, tags: numpy.ndarray, word: str, target: str
) -> numpy.ndarray:
    """Find what the decoder attends to when it writes a string from another.

    model (Model): The layer.
    codes, tags (ndarray): As in `write_strings`, for one word. (1, ...)
    word, target (str): The strings.
    RETURNS (ndarray): The attention weights of each character of the target, and of the end (row),
        for each character of the word, and its end (column). (len(target) + 1, len(word) + 1)
    """
    decoder, alphabet = _get_decoder(model), get_alphabet(model)
    sources, targets = alphabet.encode([word]), alphabet.encode_targets([word], [target])
    memory = decoder.encode(codes, tags, sources.chars, sources.copied, sources.lengths)
    _, weights = read(decoder, memory, targets.inputs, targets.symbols, targets.lengths)
    return numpy.concatenate(weights)[:, : sources.lengths[0]]


def _get_decoder(model: Model[Pairs, Any]) -> Any:
    shim = get_shim(model)
    weights, settings = shim.require_weights(), shim.network_settings
    if shim.network.choose_predict(shim.device_type, settings) is not None:
        from ..modules.seq2seq.predict import ArrayDecoder

        return ArrayDecoder(weights, settings)
    module = shim.require_module()
    from ..modules.seq2seq.torch_decoder import TorchDecoder

    return TorchDecoder(module)


def decode_cached(
    model: Model[Pairs, Any],
    keys: Sequence[tuple[str, ...]],
    codes: numpy.ndarray,
    tags: numpy.ndarray,
    max_growth: int,
    **options: Any,
) -> list[tuple[str, float]]:
    """Write the best string from strings, each with its tags and code once while the weights stay.

    model (Model): The layer.
    keys (Sequence[Tuple[str, ...]]): The strings, and what their tags are.
    codes, tags, max_growth, options: As in `write_strings`.
    RETURNS (List[Tuple[str, float]]): The results with their probabilities.
    """
    weights = get_shim(model).require_weights()
    settings = max_growth, tuple(options.items())
    cache: dict[Any, tuple[str, float]] = weights.cached(("strings", settings), dict)
    places = [(key, code.tobytes()) for key, code in zip(keys, codes, strict=True)]
    # Read once: other threads may empty the cache.
    results = {place: cache.get(place) for place in places}
    missing = {place: i for i, place in enumerate(places) if results[place] is None}
    if missing:
        rows = list(missing.values())
        words = [keys[i][0] for i in rows]
        written = write_strings(model, codes[rows], tags[rows], words, max_growth, **options)
        # There is none where the weights are not numbers.
        best = [found[0] if found else ("", 0.0) for found in written]
        new = dict(zip(missing, best, strict=True))
        results.update(new)
        if len(cache) + len(new) > MAX_CACHED:
            cache.clear()
        cache.update(new)
    return [cast(tuple[str, float], results[place]) for place in places]
