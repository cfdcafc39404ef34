from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc, Span, Token
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer

from ..layers.lm import Scorer, get_vocabulary
from ..layers.lm_weights import load_weights
from .bilm import DEFAULT_CONFIG
from .extensions import Extension, Stored
from .mixin import RNNPipeMixin

DEFAULT_MODEL = {**Config().from_str(DEFAULT_CONFIG)["model"], "directions": "forward"}


@Language.factory(
    "rnn_lm",
    assigns=["doc._.surprisals", "doc._.perplexity", "token._.surprisal", "span._.surprisal"],
    default_config={"model": DEFAULT_MODEL, "extension_prefix": ""},
)
def make_rnn_lm(
    nlp: Language, name: str, model: Model, extension_prefix: str
) -> "RNNLanguageModel":
    """Construct an RNNLanguageModel.

    model (Model[List[Doc], List[Floats3d]]): A language model, as spacy-rnn.BiLM.v1 makes it.
    extension_prefix (str): Goes before the names of the extension attributes: with "lm_" they are
        `token._.lm_surprisal`, `span._.lm_surprisal` and `doc._.lm_perplexity`.
    RETURNS (RNNLanguageModel): The component.
    """
    return RNNLanguageModel(nlp.vocab, model, name, extension_prefix=extension_prefix)


class RNNLanguageModel(RNNPipeMixin, TrainablePipe):
    """Compute surprisal with a language model that reads from the left: `token._.surprisal`,
    -log2 P(word | the words before it in the Doc), in bits; `span._.surprisal`, the sum of its
    tokens'; `doc._.perplexity`, 2 to the power of the mean. All words that are not in the
    vocabulary share the surprisal of the unknown word. White space is not read, has no surprisal
    (0.0) and does not count.

    The model is trained by `spacy rnn pretrain`, and not by `spacy train`. The arguments are those
    of `make_rnn_lm`.
    """

    # A window takes kilobytes for each token, and occupies all threads.
    predicts_ahead = False

    def __init__(
        self, vocab: Vocab, model: Model, name: str = "rnn_lm", *, extension_prefix: str = ""
    ):
        super().__init__(vocab, model, name)
        self.extension_prefix = extension_prefix
        self.register_extensions()

    @property
    def extensions(self) -> list[Extension]:
        """RETURNS (List[Extension]): The surprisals of all tokens, and their sums and means."""
        prefix = self.extension_prefix
        stored = f"{prefix}surprisals"
        surprisal, perplexity = SurprisalGetter(stored), PerplexityGetter(stored)
        return [
            Extension(Doc, stored, Stored(stored)),
            Extension(Doc, f"{prefix}perplexity", perplexity),
            Extension(Token, f"{prefix}surprisal", surprisal),
            Extension(Span, f"{prefix}surprisal", surprisal),
        ]

    @property
    def vocabulary(self) -> list[str]:
        """RETURNS (List[str]): The boundary of texts, the unknown word, and the words that the
        model can predict.
        """
        return get_vocabulary(self.model)

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        weights: str | Path | None = None,
    ) -> None:
        """Load pretrained weights.

        get_examples (Callable[[], Iterable[Example]]): Not needed.
        nlp (Optional[Language]): The pipeline.
        weights (Optional[str / Path]): A pipeline that `spacy rnn pretrain` saved.
        RAISES (ValueError): If there are none, or with other settings of the model.
        """
        if not weights:
            raise ValueError(
                f"Component {self.name!r} has nothing to initialise with: set weights in "
                f"[initialize.components.{self.name}] to a pipeline that `spacy rnn pretrain` "
                "saved."
            )
        self.model.initialize()
        load_weights(self.model, Path(weights), with_output=True)

    def predict(self, docs: Iterable[Doc]) -> list[numpy.ndarray]:
        """RETURNS (List[ndarray]): The surprisals of each Doc in bits. Each (tokens,)"""
        if not self.vocabulary:
            raise ValueError(
                f"Component {self.name!r} can't predict words: train it with `spacy rnn pretrain`."
            )
        docs = list(docs)
        scorer = Scorer(self.model, self.vocab)
        words = [[token.text for token in doc if not token.is_space] for doc in docs]
        results = []
        for doc, logs in zip(docs, scorer.get_log_probs(words), strict=True):
            surprisals = numpy.zeros(len(doc), dtype="f")
            surprisals[[not token.is_space for token in doc]] = -logs[:-1] / numpy.log(2)
            results.append(surprisals)
        return results

    def set_annotations(self, docs: Sequence[Doc], scores: list[numpy.ndarray]) -> None:
        """Store the surprisals that `predict` returned."""
        stored = self.extensions[0]
        for doc, surprisals in zip(docs, scores, strict=True):
            stored.store(doc, surprisals)

    def update(
        self,
        examples: Iterable[Example],
        *,
        losses: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> dict[str, float]:
        """Do nothing, as the model learns from raw text only. The loss is 0.0."""
        validate_examples(examples, "RNNLanguageModel.update")
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        return losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Do nothing."""

    def get_loss(self, examples: Iterable[Example], scores: Any) -> tuple[float, Any]:
        """Raise an error: no annotation trains the model."""
        raise NotImplementedError(f"Component {self.name!r} is trained by `spacy rnn pretrain`.")

    def add_label(self, label: str) -> int:
        """The component has no labels."""
        raise NotImplementedError(f"Component {self.name!r} has no labels.")


@dataclass(frozen=True)
class SurprisalGetter:
    """Gets the surprisal of a token or a span in bits; None if its Doc has none, or if its tokens
    have changed since.

    stored (str): The Doc's extension attribute with the surprisals of all tokens.
    """

    stored: str

    def __call__(self, obj: Token | Span) -> float | None:
        surprisals = _get_surprisals(obj.doc, self.stored)
        if surprisals is None:
            return None
        if isinstance(obj, Token):
            return float(surprisals[obj.i])
        return float(surprisals[obj.start : obj.end].sum())


@dataclass(frozen=True)
class PerplexityGetter:
    """Gets the perplexity of a Doc; None if it has no words or no surprisals.

    stored (str): As in `SurprisalGetter`.
    """

    stored: str

    def __call__(self, doc: Doc) -> float | None:
        surprisals = _get_surprisals(doc, self.stored)
        n_words = sum(not token.is_space for token in doc)
        if surprisals is None or not n_words:
            return None
        return float(2.0 ** (surprisals.sum(dtype="d") / n_words))


def _get_surprisals(doc: Doc, name: str) -> Any:
    surprisals = Stored(name)(doc)
    return surprisals if surprisals is not None and len(surprisals) == len(doc) else None
