"""From the scores of a CRF to entities."""

from collections.abc import Sequence

import numpy
from spacy.tokens import Doc, Span, SpanGroup
from thinc.api import Ops

from ..layers.crf import MemberScores, to_numpy
from ..layers.crf_ensemble import average
from ..modules.crf.span_crf import SpanCRF
from ..modules.crf.tagging_scheme import TaggingScheme
from .entity_tags import get_allowed, get_blocked
from .extensions import Extension

# Entities of a Doc: start, end (exclusive), number of the label and probability.
Entities = list[tuple[int, int, int, float]]


class EntityDecoder:
    """Find the entities of a batch.

    ops (Ops): The model's backend.
    docs (List[Doc]): The batch, not all Docs empty.
    members (List[CRFScores]): The scores of each member of the model. They are averaged.
    scheme (TaggingScheme): The tags.
    labels (Sequence[str]): The labels.
    temperature (float): All scores are divided by this for probabilities.
    """

    def __init__(
        self,
        ops: Ops,
        docs: list[Doc],
        members: MemberScores,
        scheme: TaggingScheme,
        labels: Sequence[str],
        temperature: float,
    ):
        scores = to_numpy(ops, average(ops, members))
        legal = scheme.select_legal(scores["transitions"]).map(_limit)
        emissions, start, end = (_limit(scores[name]) for name in ("emissions", "start", "end"))
        self.crf = SpanCRF(scheme, emissions, legal, start, end, [len(doc) for doc in docs])
        self.allowed = get_allowed(docs, scheme, labels)
        self.docs = docs
        self.labels = labels
        self.temperature = temperature

    def find_best(self) -> list[Entities]:
        """RETURNS (List[Entities]): The entities of the most probable tags of each Doc."""
        found = [self.crf.scheme.get_spans(tags) for tags in self.crf.find_best(self.allowed)]
        flat = [(i, *span) for i, spans in enumerate(found) for span in spans]
        probs = self.crf.get_span_probs(self.allowed, flat, self.temperature)
        entities: list[Entities] = [[] for _ in self.docs]
        for (i, start, end, label), prob in zip(flat, probs, strict=True):
            entities[i].append((start, end, label, prob))
        return entities

    def find_probable(self, threshold: float) -> list[Entities]:
        """RETURNS (List[Entities]): Entities that are at least as probable as a threshold."""
        return self.crf.find_probable_spans(self.allowed, threshold, self.temperature)

    def find_k_best(self, k: int) -> list[list[tuple[float, list[Span]]]]:
        """RETURNS (List[List[Tuple[float, List[Span]]]]): The probability and the entities of the
        k most probable readings of each Doc.
        """
        readings = self.crf.find_k_best(self.allowed, k, self.temperature)
        return [
            [(prob, self._make_spans(doc, tags)) for prob, tags in of_doc]
            for doc, of_doc in zip(self.docs, readings, strict=True)
        ]

    def _make_spans(self, doc: Doc, tags: list[int]) -> list[Span]:
        spans = self.crf.scheme.get_spans(tags)
        return [Span(doc, start, end, self.labels[label]) for start, end, label in spans]


def set_entities(
    doc: Doc, entities: Entities, labels: Sequence[str], probability: Extension, key: str | None
) -> None:
    """Set the entities of a Doc, and store their probabilities.

    doc (Doc): The Doc. The entities that it has stay as they are.
    entities (List[Tuple[int, int, int, float]]): The entities.
    labels (Sequence[str]): The labels.
    probability (Extension): The extension attribute for probabilities.
    key (Optional[str]): The key in `doc.spans` for a copy of the entities.
    """
    spans = [Span(doc, start, end, labels[label]) for start, end, label, _ in entities]
    _add_entities(doc, spans)
    # Entities of other labels, which were there before, are certain too.
    probs = {(start, end): prob for start, end, _, prob in entities}
    ents = doc.ents
    scores = [probs.get((ent.start, ent.end), 1.0) for ent in ents]
    for ent, score in zip(ents, scores, strict=True):
        # Another recogniser may have stored the probabilities of its entities.
        if (ent.start, ent.end) in probs or probability.getter(ent) is None:
            probability.store(ent, score)
    if key is not None:
        attrs = {"scores": numpy.asarray(scores, dtype="float32")}
        doc.spans[key] = SpanGroup(doc, name=key, spans=ents, attrs=attrs)


def _add_entities(doc: Doc, spans: list[Span]) -> None:
    if not doc.has_annotation("ENT_IOB"):
        doc.set_ents(spans)
        return
    # With their knowledge base IDs.
    preset = {(ent.start, ent.end): ent for ent in doc.ents}
    new = [span for span in spans if (span.start, span.end) not in preset]
    doc.set_ents([*preset.values(), *new], blocked=get_blocked(doc))


def _limit(scores: numpy.ndarray) -> numpy.ndarray:
    # Whatever the weights are, a forbidden tag must score lower than an allowed one.
    return numpy.fmin(numpy.fmax(scores, -1e6), 1e6)
