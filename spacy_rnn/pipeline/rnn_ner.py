import warnings
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy
import torch
from spacy.language import Language
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model

from ..checks import check_choice, check_key, check_positive, check_share
from ..layers.crf import CRFScores, extend_output, to_tensors
from ..layers.crf_ensemble import get_members
from ..modules.crf.span_crf import SpanCRF
from ..modules.crf.tagging_scheme import TaggingScheme
from .entity_objective import EntityObjective
from .entity_tags import find_white_space, get_allowed, get_blocked
from .extensions import Extension, Stored
from .labels import find_labels
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

# Entities of a Doc: start, end, label and probability.
Entities = list[tuple[int, int, int, float]]

DECODINGS = ("viterbi", "posterior")
# What is less probable is not looked for, however low the threshold.
MIN_PROBABILITY = 0.01
# So many scores of tags are held at a time, and several numbers for each.
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

    model (Model[List[Doc], CRFScores]): A model that scores tags, such as spacy-rnn.CRF.v1.
    spans_key (Optional[str]): Where in `doc.spans` to store all of `doc.ents` too, with their
        probabilities in `attrs["scores"]`. spaCy does not move such a group when tokens are merged
        or split afterwards. None stores none.
    threshold (float): Entities that are less probable are dropped.
    decoding (str): "viterbi" finds the entities of the most probable reading of a Doc;
        "posterior" all that are at least as probable as the threshold, and no less than 0.01,
        whatever else the Doc holds, and of those that overlap the ones that exceed it by most. It
        needs a threshold, such as 0.3, and is the better one with that which is best on dev.
    temperature (float): What all scores are divided by for probabilities (Guo et al. 2017, "On
        Calibration of Modern Neural Networks"): above 1 they are more moderate.
    incorrect_spans_key (Optional[str]): Where in the `spans` of training data there are spans that
        are known to be no entities.
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


def ner_score(examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
    """Score entities as spaCy does: precision, recall and F-score, exact match."""
    return get_ner_prf(examples, **kwargs)


class RNNEntityRecognizer(RNNPipeMixin, RehearsedCRF):
    """Recognise named entities with a recurrent network and a conditional random field, and say
    how probable each of them is: `ent._.probability`, a float, for each entity of a Doc; 1.0 for
    those that were there already.
    """

    spans_key = Setting(check_key, None)
    threshold = Setting(check_share, 0.0)
    decoding = Setting(partial(check_choice, choices=DECODINGS), "viterbi")
    temperature = Setting(check_positive, 1.0)
    incorrect_spans_key = Setting(check_key, None)

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str = "rnn_ner",
        *,
        spans_key: str | None = None,
        threshold: float = 0.0,
        decoding: str = "viterbi",
        temperature: float = 1.0,
        incorrect_spans_key: str | None = None,
        extension_prefix: str = "",
        scorer: Callable | None = ner_score,
    ):
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self.extension_prefix = extension_prefix
        self._rehearsal_model = None
        self._warned: set[str] = set()
        self.cfg: dict[str, Any] = {
            "labels": [],
            "spans_key": spans_key,
            "threshold": threshold,
            "decoding": decoding,
            "temperature": temperature,
            "incorrect_spans_key": incorrect_spans_key,
        }
        self.check_settings()
        self.register_extensions()

    @property
    def extensions(self) -> list[Extension]:
        """RETURNS (List[Extension]): The probability of entities."""
        name = f"{self.extension_prefix}probability"
        return [Extension(Span, name, Stored(name))]

    @property
    def labels(self) -> tuple[str, ...]:
        """RETURNS (Tuple[str, ...]): The labels."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> list[str]:
        """RETURNS (List[str]): The labels, as `spacy init labels` stores them."""
        return list(self.cfg["labels"])

    @property
    def scheme(self) -> TaggingScheme:
        """RETURNS (TaggingScheme): The tags of the labels."""
        return TaggingScheme(self.model.attrs["scheme"], len(self.labels))

    def add_label(self, label: str) -> int:
        """Add a label. A trained model keeps the scores of those it has.

        label (str): The label.
        RETURNS (int): 1 if it was added, 0 if it was there.
        """
        if not isinstance(label, str) or not label:
            raise ValueError(f"A label must be a string that is not empty, and not {label!r}.")
        if label in self.labels:
            return 0
        self.cfg["labels"].append(label)
        self.vocab.strings.add(label)
        for member in get_members(self.model):
            output = member.get_ref("output")
            if output.has_param("W"):
                _replace_output(member, extend_output(output, self.scheme.n_learned))
        return 1

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Find the labels in data, and make the model's weights.

        get_examples (Callable[[], Iterable[Example]]): Returns the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): The labels, which are not looked for then.
        """
        validate_get_examples(get_examples, "RNNEntityRecognizer.initialize")
        found = find_labels(self.name, get_examples, labels, _read_labels, "entities")
        for label in sorted(found) if labels is None else found:
            self.add_label(label)
        if not self.labels:
            raise ValueError(
                f"Component {self.name!r} has no labels: there are no entities in the training "
                "data, and none were added with add_label or given in [initialize.components]."
            )
        sample = [eg.x for eg in islice(get_examples(), 10)]
        for member in get_members(self.model):
            member.get_ref("output").set_dim("nO", self.scheme.n_learned, force=True)
        self.model.initialize(X=sample)

    def predict(self, docs: Iterable[Doc]) -> list[Entities]:
        """Find entities, as the setting `decoding` says.

        docs (Iterable[Doc]): The Docs.
        RETURNS (List[List[Tuple[int, int, int, float]]]): For each Doc start, end (exclusive), the
            number of the label and the probability of each entity.
        """
        docs = list(docs)
        self.require_tok2vec(docs)
        # With many labels, some Docs at a time: each token has scores for all tags.
        n_scores = sum(map(len, docs)) * self.scheme.n_tags
        with torch.inference_mode():
            parts = map(self._predict_part, divide_window(docs, 1 + n_scores // MAX_SCORES))
            return list(chain.from_iterable(parts))

    def _predict_part(self, docs: list[Doc]) -> list[Entities]:
        if not any(map(len, docs)):
            return [[] for _ in docs]
        temperature = self.temperature
        crf, allowed = self._score(docs)
        if self.decoding == "posterior":
            threshold = self._get_posterior_threshold()
            return crf.find_probable_spans(allowed, threshold, temperature)
        found = [crf.scheme.get_spans(tags) for tags in crf.find_best(allowed)]
        flat = [(i, *span) for i, spans in enumerate(found) for span in spans]
        probs = crf.get_span_probs(allowed, flat, temperature)
        entities: list[Entities] = [[] for _ in docs]
        for (i, *span), prob in zip(flat, probs, strict=True):
            start, end, label = span
            entities[i].append((start, end, label, prob))
        return entities

    def set_annotations(self, docs: Iterable[Doc], entities: list[Entities]) -> None:
        """Set entities, and store the probability of each.

        docs (Iterable[Doc]): The Docs.
        entities (List[List[Tuple[int, int, int, float]]]): What `predict` returned.
        """
        labels, threshold, key = self.labels, self.threshold, self.spans_key
        (probability,) = self.extensions
        for doc, found in zip(docs, entities, strict=True):
            found = [entity for entity in found if entity[3] >= threshold]
            spans = [Span(doc, start, end, labels[label]) for start, end, label, _ in found]
            _set_entities(doc, spans)
            # Entities of other labels, which were there already, are certain too.
            probs = {(start, end): prob for start, end, _, prob in found}
            ents = doc.ents
            scores = [probs.get((ent.start, ent.end), 1.0) for ent in ents]
            for ent, score in zip(ents, scores, strict=True):
                # Another recogniser may have said how probable its entities are.
                if (ent.start, ent.end) in probs or probability.getter(ent) is None:
                    probability.store(ent, score)
            if key is not None:
                attrs = {"scores": numpy.asarray(scores, dtype="float32")}
                doc.spans[key] = SpanGroup(doc, name=key, spans=ents, attrs=attrs)

    def predict_k_best(self, docs: Iterable[Doc], k: int) -> list[list[tuple[float, list[Span]]]]:
        """Find the k most probable readings of each Doc. Nothing is set on the Docs.

        docs (Iterable[Doc]): The Docs.
        k (int): How many readings.
        RETURNS (List[List[Tuple[float, List[Span]]]]): For each Doc the probability and the
            entities of each reading, best first; fewer than k where there are not as many.
        """
        docs = list(docs)
        self.require_tok2vec(docs)
        if not any(map(len, docs)):
            return [[(1.0, [])] for _ in docs]
        with torch.inference_mode():
            crf, allowed = self._score(docs)
            readings = crf.find_k_best(allowed, k, self.temperature)
        return [
            [
                (prob, [Span(doc, *span[:2], self.labels[span[2]]) for span in spans])
                for prob, spans in ((prob, crf.scheme.get_spans(tags)) for prob, tags in of_doc)
            ]
            for doc, of_doc in zip(docs, readings, strict=True)
        ]

    def get_loss(self, examples: Iterable[Example], scores: CRFScores) -> tuple[float, CRFScores]:
        """Find the loss, the negative logarithm of the probability of what is annotated, and its
        gradient.

        examples (Iterable[Example]): The batch.
        scores (CRFScores): What the model returned for it.
        RETURNS (Tuple[float, CRFScores]): The loss and its gradient.
        """
        examples = list(examples)
        validate_examples(examples, "RNNEntityRecognizer.get_loss")
        self._warn_of_white_space(examples)
        objective = EntityObjective(
            self.name,
            self.scheme,
            self.labels,
            output=self.model.attrs["output"],
            incorrect_spans_key=self.incorrect_spans_key,
        )
        return objective.compute_loss(self.model.ops, examples, scores)

    def _warn_of_white_space(self, examples: list[Example]) -> None:
        ent = None if "white space" in self._warned else find_white_space(examples)
        if ent is not None:
            self._warned.add("white space")
            warnings.warn(
                f"Component {self.name!r} learns entities without the white space at their ends, "
                f"such as {ent.text!r} ({ent.label_}) in {ent.doc.text[:60]!r}. It will not be "
                "predicted, either.",
                stacklevel=3,
            )

    def _get_posterior_threshold(self) -> float:
        if self.threshold < MIN_PROBABILITY and "threshold" not in self._warned:
            self._warned.add("threshold")
            warnings.warn(
                f"Component {self.name!r} has decoding = 'posterior' and threshold = "
                f"{self.threshold}: entities less probable than {MIN_PROBABILITY} are not looked "
                "for. Set a threshold, such as 0.3, by `spacy find-threshold` on dev.",
                stacklevel=2,
            )
        return max(self.threshold, MIN_PROBABILITY)

    def _score(self, docs: list[Doc]) -> tuple[SpanCRF, torch.Tensor]:
        scheme, scores = self.scheme, to_tensors(self.model.ops, self.model.predict(docs))
        legal = scheme.select_legal(scores["transitions"]).map(_limit)
        emissions, start, end = (_limit(scores[name]) for name in ("emissions", "start", "end"))
        crf = SpanCRF(scheme, emissions, legal, start, end, [len(doc) for doc in docs])
        allowed = get_allowed(docs, scheme, self.labels)
        return crf, torch.from_numpy(allowed).to(emissions.device)


def _limit(scores: torch.Tensor) -> torch.Tensor:
    # Whatever the weights are, what is not allowed must be worse than what is.
    return scores.nan_to_num(nan=0.0).clamp(-1e6, 1e6)


def _read_labels(eg: Example) -> list[str]:
    return [ent.label_ for ent in eg.reference.ents if not ent.text.isspace()]


def _replace_output(member: Model, output: Model) -> None:
    member._layers[-1] = output
    member.set_ref("output", output)


def _set_entities(doc: Doc, spans: list[Span]) -> None:
    if not doc.has_annotation("ENT_IOB"):
        doc.set_ents(spans)
        return
    # What was there stays as it is, knowledge base IDs included.
    preset = {(ent.start, ent.end): ent for ent in doc.ents}
    new = [span for span in spans if (span.start, span.end) not in preset]
    doc.set_ents([*preset.values(), *new], blocked=get_blocked(doc))
