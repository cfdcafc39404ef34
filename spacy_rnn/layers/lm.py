"""The language model inside a `BiLM` layer, for predicting words: pretraining and `rnn_lm`."""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy
from spacy.vocab import Vocab
from thinc.api import Model

from ..modules.cache import cached
from ..modules.lm.vocabulary import BOUNDARY_ID, Vocabulary
from ..modules.networks import TIED_SOFTMAX
from .bilm import get_embed, get_output
from .torch_arrays import require_torch, to_torch
from .torch_shim import get_shim
from .word_features import get_features

if TYPE_CHECKING:
    from ..modules.lm.language_model import LanguageModel

# An attribute of the layer, so that it is stored with the weights.
_VOCABULARY = "lm_vocabulary"


def set_vocabulary(model: Model, words: Sequence[str]) -> None:
    """Make a new softmax.

    model (Model): A spacy-rnn.BiLM.v1.
    words (Sequence[str]): The words, as `Vocabulary` wants them.
    RAISES (ValueError): If an adaptive softmax has clusters beyond the vocabulary.
    """
    output = get_output(model)
    shim = get_shim(output)
    cutoffs = shim.settings.get("cutoffs", [])
    if cutoffs and cutoffs[-1] >= len(words):
        raise ValueError(
            f"Setting cutoffs = {cutoffs} of spacy-rnn.BiLM.v1 goes beyond the vocabulary, which "
            f"has {len(words)} words: choose lower ones."
        )
    shim.initialize(n_words=len(words))
    output.attrs[_VOCABULARY] = list(words)


def get_vocabulary(model: Model) -> list[str]:
    """RETURNS (List[str]): The words that the model can predict; none before pretraining."""
    words: list[str] = get_output(model).attrs.get(_VOCABULARY, [])
    return words


def get_language_model(model: Model, vocab: Vocab) -> "LanguageModel":
    """Make a language model of the torch modules of layers.

    model (Model): A spacy-rnn.BiLM.v1 with a vocabulary.
    vocab (Vocab): The vocab with the attributes of words.
    RETURNS (LanguageModel): The model.
    """
    layers = model, get_embed(model), get_output(model)
    stack, embed, softmax = (get_shim(layer).require_module() for layer in layers)
    from ..modules.lm.language_model import LanguageModel

    features = None
    if get_shim(layers[2]).network == TIED_SOFTMAX:
        device = get_shim(model).device
        arrays = _get_word_features(model, vocab)
        features = {name: to_torch(array, device) for name, array in arrays.items()}
    return LanguageModel(embed, stack, softmax, features)


def _get_word_features(model: Model, vocab: Vocab) -> dict[str, Any]:
    """RETURNS (Dict[str, ArrayXd]): The features of the words of a vocabulary."""
    # Computing them takes longer than reading a short text. A new vocabulary has a new softmax.
    weights = get_shim(get_output(model)).require_weights()
    compute = partial(get_features, get_embed(model), get_vocabulary(model), vocab)
    return cached(weights, "features", [], compute)


class Scorer:
    """Get the probabilities of words.

    model (Model): A spacy-rnn.BiLM.v1 with a vocabulary.
    vocab (Vocab): The vocab with the attributes of words.
    """

    def __init__(self, model: Model, vocab: Vocab):
        self.model = model
        self.vocab = vocab
        layers = model, get_embed(model), get_output(model)
        self.stack, self._embed, self._softmax = map(get_shim, layers)
        make_vocabulary = partial(Vocabulary, get_vocabulary(model))
        weights = self._softmax.require_weights()
        self.vocabulary = cached(weights, "vocabulary", [], make_vocabulary)

    @property
    def directions(self) -> list[str]:
        """RETURNS (List[str]): The names of the directions that the model reads in."""
        both = self.stack.settings["directions"] == "both"
        return ["forward", "backward"] if both else ["forward"]

    def get_log_probs(
        self, texts: Sequence[Sequence[str]], direction: int = 0
    ) -> list[numpy.ndarray]:
        """Get the log-probability of each word of texts and of their boundary.

        texts (Sequence[Sequence[str]]): The words of each text.
        direction (int): 0 reads from the left, 1 from the right.
        RETURNS (List[ndarray]): Natural logarithms for the words in the order of the text, and then
            for the boundary at the end of reading. Each unknown word has the probability of all
            unknown words together. Each (words + 1,)
        """
        if not texts:
            return []
        targets = [
            [*self.vocabulary.get_ids(words[:: -1 if direction else 1]), BOUNDARY_ID]
            for words in texts
        ]
        flat = [word for target in targets for word in target]
        logs = self.get_word_logs(self._read(texts, direction), flat)
        ends = numpy.cumsum([len(target) for target in targets])[:-1]
        parts = numpy.split(logs, ends)
        return [numpy.append(part[:-1][::-1], part[-1]) if direction else part for part in parts]

    def compare(
        self, prefixes: Sequence[Sequence[str]], words: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Get the log-probabilities of next words.

        prefixes (Sequence[Sequence[str]]): The words of each prefix.
        words (Sequence[Sequence[str]]): The possible next words of each prefix.
        RETURNS (List[List[float]]): Natural logarithms for these.
        """
        last = numpy.cumsum([len(words) + 1 for words in prefixes]) - 1
        counts = [len(choices) for choices in words]
        rows = self.model.ops.xp.asarray(numpy.repeat(last, counts))
        targets = [word for choices in words for word in self.vocabulary.get_ids(choices)]
        logs = self.get_word_logs(self._read(prefixes, 0)[rows], targets)
        return [part.tolist() for part in numpy.split(logs, numpy.cumsum(counts)[:-1])]

    def generate(
        self,
        prompt: Sequence[str],
        max_words: int,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        """Continue a text.

        prompt (Sequence[str]): The words of the text so far.
        max_words (int): The most words to add; fewer if the text ends.
        temperature, top_k, top_p (float): See `filter_scores`.
        seed (int): The same seed gives the same words.
        RETURNS (List[str]): The added words.
        """
        require_torch("Generating text")
        import torch

        from ..modules.lm.sampling import sample_words

        lm, device = get_language_model(self.model, self.vocab), self.stack.device
        generator = torch.Generator().manual_seed(seed)
        options: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}

        def embed(word: str) -> torch.Tensor:
            return to_torch(self.embed_words([word]), device)

        with torch.inference_mode(), self.stack.autocast():
            words = sample_words(
                lm,
                [embed(word) for word in prompt],
                lambda word: embed(self.vocabulary.words[word]),
                generator,
                **options,
            )
            return [self.vocabulary.words[word] for word in islice(words, max_words)]

    def embed_words(self, words: Sequence[str]) -> Any:
        """RETURNS (Floats2d): The embeddings of words, at least one. (words, width)"""
        return self._embed.predict(**get_features(get_embed(self.model), words, self.vocab))

    def _read(self, texts: Sequence[Sequence[str]], direction: int) -> Any:
        """RETURNS (Floats2d): The last layer's hidden states in the order in which a direction
        reads: of each text that at the boundary, then those at its words. (words + texts, width)
        """
        if direction >= len(self.directions):
            raise ValueError("The language model reads from the left only.")
        ops, lengths = self.model.ops, [len(words) for words in texts]
        flat = [word for words in texts for word in words]
        X = ops.alloc2f(0, self.stack.settings["width"])
        if flat:
            distinct = list(dict.fromkeys(flat))
            numbers = {word: i for i, word in enumerate(distinct)}
            X = self.embed_words(distinct)[ops.xp.asarray([numbers[word] for word in flat])]
        Y = self.stack.predict(X, lengths, with_boundary=True)[:, -1]
        rows: list[Any] = []
        end = 0
        for length in lengths:
            end += length
            places = numpy.arange(end - length, end)
            # The boundary is the last row.
            rows += [[len(flat)], places[::-1] if direction else places]
        halves = Y.reshape(len(Y), len(self.directions), -1)
        return halves[ops.xp.asarray(numpy.concatenate(rows)), direction]

    def get_word_logs(self, H: Any, words: Sequence[int]) -> numpy.ndarray:
        """Get the log-probability of one word for each hidden state.

        H (Floats2d): The last layer's output. (N, width)
        words (Sequence[int]): The IDs of the words.
        RETURNS (ndarray): Natural logarithms. (N,)
        """
        table = []
        if self._softmax.network == TIED_SOFTMAX:
            features = _get_word_features(self.model, self.vocab)
            weights, tensors = (
                self._softmax.require_weights(),
                self._embed.require_weights().tensors,
            )
            table = [cached(weights, "table", tensors, partial(self._embed.predict, **features))]
        logs = self._softmax.predict(H, numpy.asarray(words, dtype=numpy.int64), *table)
        return self.model.ops.to_numpy(logs)
