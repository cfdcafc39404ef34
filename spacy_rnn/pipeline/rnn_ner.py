import warnings
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, islice
from typing import Any

from spacy.language import Language
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model

from ..checks import check_choice, check_key, check_positive, check_share
from ..layers.crf import MemberScores, extend_output, find_outputs
from ..layers.rehearsal import is_rehearsing
from ..modules.crf.tagging_scheme import TaggingScheme
from .entity_decoding import Entities, EntityDecoder, set_entities
from .entity_loss import compute_entity_loss
from .entity_tags import find_white_space
from .extensions import Extension, Stored
from .labels import LabelList, find_labels
from .mixin import RNNPipeMixin
from .read_ahead import divide_window
from .rehearsed_crf import RehearsedCRF
from .settings import Setting

DEFAULT_CONFIG = """
[model]
@architectures = "spacy-rnn.CRF.v1"
scheme = "biluo"
output = "crf"

[model.tok2vec]
@architectures = "spacy-rnn.LMTok2Vec.v1"

[model.tok2vec.embed]
@architectures = "spacy-rnn.LexemeEmbed.v1"
width = null

[model.tok2vec.encode]
@architectures = "spacy-rnn.RNNEncoder.v1"
width = 256
depth = 1
cell = "lstm"
"""

# The least threshold in posterior decoding.
MIN_PROBABILITY = 0.01
# The most scores of tags in memory at a time.
MAX_SCORES = 2**21


@Language.factory(
    "rnn_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type", "span._.probability", "doc.spans"],
    default_config={
        "model": Config().from_str(DEFAULT_CONFIG)["model"],
        "spans_key": None,
        "threshold": 0.0,
        "decoding": "viterbi",
        "temperature": 1.0,
        "incorrect_spans_key": None,
        "extension_prefix": "",
        "scorer": {"@scorers": "spacy.ner_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_rnn_ner(
    nlp: Language,
    name: str,
    model: Model,
    spans_key: str | None,
    threshold: float,
    decoding: str,
    temperature: float,
    incorrect_spans_key: str | None,
    extension_prefix: str,
    scorer: Callable | None,
) -> "RNNEntityRecognizer":
    """Construct an RNNEntityRecognizer.

    model (Model[List[Doc], List[CRFScores]]): A model that scores tags, such as spacy-rnn.CRF.v1.
    spans_key (Optional[str]): The key in `doc.spans` for a copy of `doc.ents`, with probabilities
        in `attrs["scores"]`. spaCy does not move it when tokens are merged or split. None: no copy.
    threshold (float): Entities that are less probable are dropped.
    decoding (str): "viterbi" finds the entities of the most probable reading of a Doc. "posterior"
        finds all that are at least as probable as the threshold, and no less than 0.01; of those
        that overlap, the ones that exceed it by most. With the threshold that is best on dev, such
        as 0.3, it is more accurate.
    temperature (float): All scores are divided by this for probabilities (Guo et al. 2017, "On
        Calibration of Modern Neural Networks"): above 1 they are more moderate.
    incorrect_spans_key (Optional[str]): The key in `spans` of training data for known non-entities.
    extension_prefix (str): Goes before the name of the extension attribute `span._.probability`.
    scorer (Optional[Callable]): The scoring method.
    RETURNS (RNNEntityRecognizer): The component.
    """
    return RNNEntityRecognizer(
        nlp.vocab,
        model,
        name,
        spans_key=spans_key,
        threshold=threshold,
        decoding=decoding,
        temperature=temperature,
        incorrect_spans_key=incorrect_spans_key,
        extension_prefix=extension_prefix,
        scorer=scorer,
    )


class RNNEntityRecognizer(RNNPipeMixin, LabelList, RehearsedCRF):
    """Recognise named entities with a recurrent network and a conditional random field. The
    probability of each entity is in `ent._.probability`, a float; 1.0 for entities that a Doc had
    before. See `make_rnn_ner` for the arguments.
    """

    spans_key = Setting(check_key, None)
    threshold = Setting(check_share, 0.0)
    decoding = Setting(partial(check_choice, choices=["viterbi", "posterior"]), "viterbi")
    temperature = Setting(check_positive, 1.0)
    incorrect_spans_key = Setting(check_key, None)

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str = "rnn_ner",
        *,
        extension_prefix: str = "",
        scorer: Callable | None = get_ner_prf,
        **settings: Any,
    ):
        super().__init__(vocab, model, name, labels=[])
        self.scorer = scorer
        self.extension_prefix = extension_prefix
        self._rehearsal_model = None
        self._warned: set[str] = set()
        self.check_settings(**settings)
        self.register_extensions()

    @property
    def extensions(self) -> list[Extension]:
        """RETURNS (List[Extension]): The probability of entities."""
        name = f"{self.extension_prefix}probability"
        return [Extension(Span, name, Stored(name))]

    @property
    def scheme(self) -> TaggingScheme:
        """RETURNS (TaggingScheme): The tags of the labels."""
        return TaggingScheme(self.model.attrs["scheme"], len(self.labels))

    def count_outputs(self) -> tuple[int, int | None]:
        """RETURNS (Tuple[int, Optional[int]]): The number of tags that the labels need, and that
        the weights have.
        """
        (output, *_) = find_outputs(self.model)
        return self.scheme.n_learned, output.get_dim("nO") if output.has_param("W") else None

    def extend_outputs(self) -> None:
        """Give a trained model outputs for labels that were added."""
        for output in find_outputs(self.model):
            if output.has_param("W"):
                self.model.replace_node(output, extend_output(output, self.scheme.n_learned))

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Find the labels, and initialise the model.

        get_examples (Callable[[], Iterable[Example]]): Returns the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): The labels, instead of those in the data.
        RAISES (ValueError): If there are none, or the wrong ones.
        """
        validate_get_examples(get_examples, "RNNEntityRecognizer.initialize")
        found = find_labels(self, get_examples, labels, _read_labels, "entities")
        for label in sorted(found) if labels is None else found:
            self.add_label(label)
        for output in find_outputs(self.model):
            output.set_dim("nO", self.scheme.n_learned, force=True)
        self.model.initialize(X=[eg.x for eg in islice(get_examples(), 10)])

    def predict(self, docs: Iterable[Doc]) -> list[Entities]:
        """Find entities by the setting `decoding`.

        docs (Iterable[Doc]): The Docs.
        RETURNS (List[List[Tuple[int, int, int, float]]]): Start, end (exclusive), number of the
            label and probability of each entity of each Doc.
        """
        docs = list(docs)
        self.require_tok2vec(docs)
        # With many labels, some Docs at a time: each token has scores for all tags.
        n_scores = sum(map(len, docs)) * self.scheme.n_tags
        parts = map(self._predict_part, divide_window(docs, 1 + n_scores // MAX_SCORES))
        return list(chain.from_iterable(parts))

    def _predict_part(self, docs: list[Doc]) -> list[Entities]:
        if not any(map(len, docs)):
            return [[] for _ in docs]
        decoder = self._decode(docs)
        if self.decoding == "viterbi":
            return decoder.find_best()
        if self.threshold < MIN_PROBABILITY and "threshold" not in self._warned:
            self._warned.add("threshold")
            warnings.warn(
                f"Component {self.name!r} has decoding = 'posterior' and threshold = "
                f"{self.threshold}: it uses {MIN_PROBABILITY}. Set a threshold, such as 0.3, by "
                "`spacy find-threshold` on dev.",
                stacklevel=2,
            )
        return decoder.find_probable(max(self.threshold, MIN_PROBABILITY))

    def _decode(self, docs: list[Doc]) -> EntityDecoder:
        ops, members = self.model.ops, self.model.predict(docs)
        return EntityDecoder(ops, docs, members, self.scheme, self.labels, self.temperature)

    def set_annotations(self, docs: Iterable[Doc], entities: list[Entities]) -> None:
        """Set the entities that `predict` returned, and store the probability of each."""
        (probability,) = self.extensions
        for doc, found in zip(docs, entities, strict=True):
            probable = [entity for entity in found if entity[3] >= self.threshold]
            set_entities(doc, probable, self.labels, probability, self.spans_key)

    def predict_k_best(self, docs: Iterable[Doc], k: int) -> list[list[tuple[float, list[Span]]]]:
        """Find the k most probable readings of each Doc. Nothing is set on the Docs.

        docs (Iterable[Doc]): The Docs.
        k (int): The number of readings.
        RETURNS (List[List[Tuple[float, List[Span]]]]): The probability and the entities of up to k
            readings of each Doc, best first.
        """
        docs = list(docs)
        self.require_tok2vec(docs)
        if not any(map(len, docs)):
            return [[(1.0, [])] for _ in docs]
        return self._decode(docs).find_k_best(k)

    def get_loss(
        self, examples: Iterable[Example], scores: MemberScores
    ) -> tuple[float, MemberScores]:
        """RETURNS (Tuple[float, List[CRFScores]]): The negative log-likelihood of the annotation,
        and its gradient for the scores.
        """
        examples = list(examples)
        validate_examples(examples, "RNNEntityRecognizer.get_loss")
        if is_rehearsing(self.model):
            return super().get_loss(examples, scores)
        ent = None if "white space" in self._warned else find_white_space(examples)
        if ent is not None:
            self._warned.add("white space")
            warnings.warn(
                f"Component {self.name!r} learns and predicts entities without the white space at "
                f"their ends, such as {ent.text!r} ({ent.label_}) in {ent.doc.text[:60]!r}.",
                stacklevel=2,
            )
        model, key = self.model, self.incorrect_spans_key
        options = {"output": model.attrs["output"], "incorrect_spans_key": key}
        loss, gradient, impossible = compute_entity_loss(
            model.ops, examples, scores, self.scheme, self.labels, **options
        )
        if impossible:
            text = examples[impossible[0]].predicted.text
            warnings.warn(
                f"Component {self.name!r} can't learn from {len(impossible)} of {len(examples)} "
                "texts, as no sequence of entities agrees with the annotation and the constraints, "
                f"such as sentence starts. The first is {text[:60]!r}.",
                stacklevel=2,
            )
        self.check_loss(loss)
        return loss, gradient


def _read_labels(eg: Example) -> list[str]:
    return [ent.label_ for ent in eg.reference.ents if not ent.text.isspace()]
