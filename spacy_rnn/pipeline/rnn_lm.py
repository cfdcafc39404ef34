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
    """A language model that says how surprising words are, reading from the left:
    `token._.surprisal`, -log2 P(word | the words before it in the Doc), in bits;
    `span._.surprisal`, the sum of its tokens'; `doc._.perplexity`, 2 to the power of the mean. A
    word that is not in the vocabulary has the surprisal of the unknown word, which stands for all
    of them. White space is not read, has no surprisal (0.0) and does not count.

    It is trained by `spacy rnn pretrain`; `spacy train` leaves it as it is.

    vocab (Vocab): The shared vocabulary.
    model (Model[List[Doc], List[Floats3d]]): The language model.
    name (str): The component's name.
    extension_prefix (str): Goes before the names of the extension attributes.
    """

    # What is predicted takes kilobytes for each token, and the threads are busy with one window.
    predicts_ahead = False

    def __init__(
        self, vocab: Vocab, model: Model, name: str = "rnn_lm", *, extension_prefix: str = ""
    ):
        self.vocab = vocab
        self.model = model
        self.name = name
        self.extension_prefix = extension_prefix
        self.cfg = {}
        self.register_extensions()

    @property
    def extensions(self) -> list[Extension]:
        """RETURNS (List[Extension]): The surprisals of all tokens, and what is read from them."""
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
        """RETURNS (List[str]): The words that the model can predict, after what stands for the
        boundary of texts and for unknown words.
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
        RAISES (ValueError): If there are none, or if they were made with other settings.
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
        """Find the surprisals of Docs, without changing them.

        docs (Iterable[Doc]): The Docs.
        RETURNS (List[ndarray]): In bits, in single precision. Each (tokens,)
        RAISES (ValueError): If the model was not pretrained.
        """
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
        """Store surprisals.

        docs (Sequence[Doc]): The Docs.
        scores (List[ndarray]): What `predict` returned.
        """
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
        """The component has no annotations to learn from."""
        raise NotImplementedError(f"Component {self.name!r} is trained by `spacy rnn pretrain`.")

    def add_label(self, label: str) -> int:
        """The component has no labels."""
        raise NotImplementedError(f"Component {self.name!r} has no labels.")


@dataclass(frozen=True)
class SurprisalGetter:
    """Gets the surprisal of a token, or of all tokens of a span together, in bits; None if its Doc
    has none, or if its tokens are no longer those that were read.

    stored (str): The Doc's extension attribute that has the surprisals of all tokens.
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
    """Gets 2 to the power of the mean surprisal of a Doc's words; None if it has no words or no
    surprisals.

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
