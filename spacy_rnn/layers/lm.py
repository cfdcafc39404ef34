"""The language model inside a `BiLM` layer, for predicting words: pretraining and `rnn_lm`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import Any

import numpy
import torch
from spacy.vocab import Vocab
from thinc.api import Model

from ..modules.cache import cached
from ..modules.lm.language_model import BOUNDARY_ID, LanguageModel, Vocabulary
from ..modules.lm.sampling import sample_words
from ..modules.lm.softmax import TiedSoftmax
from .bilm import get_embed, get_output
from .torch_shim import get_shim
from .word_features import get_features

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


def get_language_model(model: Model, vocab: Vocab) -> LanguageModel:
    """Make a language model of the modules of layers.

    model (Model): A spacy-rnn.BiLM.v1 with a vocabulary.
    vocab (Vocab): The vocab with the attributes of words.
    RETURNS (LanguageModel): The model.
    """
    embed = get_embed(model)
    stack, embedding, softmax = (
        get_shim(layer).require_module() for layer in (model, embed, get_output(model))
    )
    features = None
    if isinstance(softmax, TiedSoftmax):
        # Computing them takes longer than reading a short text. A new vocabulary has a new softmax.
        compute = partial(get_features, embed, get_vocabulary(model), vocab)
        features = cached(softmax, "features", [], compute)
    return LanguageModel(embedding, stack, softmax, features)


class Scorer:
    """Get the probabilities of words.

    model (Model): A spacy-rnn.BiLM.v1 with a vocabulary.
    vocab (Vocab): The vocab with the attributes of words.
    """

    def __init__(self, model: Model, vocab: Vocab):
        self.model = model
        self.vocab = vocab
        self.lm = get_language_model(model, vocab)
        make_vocabulary = partial(Vocabulary, get_vocabulary(model))
        self.vocabulary = cached(self.lm.softmax, "vocabulary", [], make_vocabulary)
        self.device = get_shim(model).device

    @property
    def directions(self) -> list[str]:
        """RETURNS (List[str]): The names of the directions that the model reads in."""
        return ["forward", "backward"][: self.lm.stack.n_directions]

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
        with torch.inference_mode(), self._precision():
            H = self._read(texts, direction)
            targets = [
                [*self.vocabulary.get_ids(words[:: -1 if direction else 1]), BOUNDARY_ID]
                for words in texts
            ]
            flat = torch.tensor([word for target in targets for word in target])
            logs = self.lm.get_word_log_probs(H, flat.to(self.device)).cpu().numpy()
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
        with torch.inference_mode(), self._precision():
            H = self._read(prefixes, 0)
            last = torch.tensor([len(words) + 1 for words in prefixes]).cumsum(0) - 1
            counts = [len(choices) for choices in words]
            rows = last.repeat_interleave(torch.tensor(counts)).to(self.device)
            ids = [self.vocabulary.get_ids(choices) for choices in words]
            targets = torch.tensor([word for row in ids for word in row], device=self.device)
            logs = self.lm.get_word_log_probs(H[rows], targets).cpu()
        return [part.tolist() for part in logs.split(counts)]

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
        generator = torch.Generator().manual_seed(seed)
        options: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        with torch.inference_mode(), self._precision():
            words = sample_words(
                self.lm,
                [self._embed(word) for word in prompt],
                lambda word: self._embed(self.vocabulary.words[word]),
                generator,
                **options,
            )
            return [self.vocabulary.words[word] for word in islice(words, max_words)]

    def _precision(self) -> AbstractContextManager:
        return get_shim(self.model).autocast()

    def _embed(self, word: str) -> torch.Tensor:
        return self.lm.embed(**get_features(get_embed(self.model), [word], self.vocab))

    def _read(self, texts: Sequence[Sequence[str]], direction: int) -> torch.Tensor:
        """RETURNS (Tensor): The last layer's hidden states in the order in which a direction reads:
        of each text that at the boundary, then those at its words. (words + texts, width)
        """
        stack = self.lm.stack
        if direction >= stack.n_directions:
            raise ValueError("The language model reads from the left only.")
        lengths = [len(words) for words in texts]
        flat = [word for words in texts for word in words]
        X = stack.boundary.new_zeros(0, stack.width)
        if flat:
            distinct = list(dict.fromkeys(flat))
            numbers = {word: i for i, word in enumerate(distinct)}
            features = get_features(get_embed(self.model), distinct, self.vocab)
            places = torch.tensor([numbers[word] for word in flat], device=self.device)
            X = self.lm.embed(**features).index_select(0, places)
        tokens, boundary = stack.predict(X.float(), lengths)
        parts = []
        for part in tokens[:, -1, direction].split(lengths):
            parts += [boundary[-1, direction].unsqueeze(0), part.flip(0) if direction else part]
        return torch.cat(parts)
