"""The tags that tokens may have, by earlier annotation of a Doc, and by the gold annotation."""

from collections.abc import Sequence

import numpy
from spacy.attrs import ENT_IOB, ENT_TYPE, IS_SPACE, ORTH, SENT_START
from spacy.tokens import Doc, Span
from spacy.training import Example, split_bilu_label

from ..modules.crf.tagging_scheme import BEGIN, INSIDE, LAST, UNIT, TaggingScheme

_PARTS = {"B": BEGIN, "I": INSIDE, "L": LAST, "U": UNIT}
_IOB_INSIDE, _IOB_OUTSIDE, _IOB_BEGIN = 1, 2, 3


def get_allowed(docs: Sequence[Doc], scheme: TaggingScheme, labels: Sequence[str]) -> numpy.ndarray:
    """Find the tags that may be predicted, as in spaCy's `ner`: entities that a Doc has stay,
    blocked tokens are in none, and others neither begin nor end on white space nor cross the start
    of a sentence.

    docs (Sequence[Doc]): The batch.
    scheme (TaggingScheme): The tags.
    labels (Sequence[str]): The labels.
    RETURNS (ndarray): Whether each token, Doc after Doc, may have each tag. (N, tags)
    """
    columns = [ENT_IOB, SENT_START, IS_SPACE]
    known = numpy.concatenate([doc.to_array(columns).reshape(-1, 3) for doc in docs])
    iob, sent_start, is_space = known.T
    at_edge = scheme.get_parts(BEGIN, LAST, UNIT)
    goes_on = scheme.get_parts(INSIDE, LAST)
    allowed = ~numpy.outer(is_space == 1, at_edge)
    allowed &= ~numpy.outer(sent_start == 1, goes_on)
    is_preset = (iob == _IOB_BEGIN) | (iob == _IOB_INSIDE)
    if is_preset.any():
        # Entities with labels that are not ours stay too, but can't be predicted.
        allowed[is_preset] = False
        allowed[is_preset, scheme.outside] = True
        first = 0
        for doc in docs:
            for ent in doc.ents if is_preset[first : first + len(doc)].any() else ():
                if ent.label_ in labels:
                    rows = slice(first + ent.start, first + ent.end)
                    tags = scheme.get_span_tags(labels.index(ent.label_), len(ent))
                    allowed[rows] = False
                    allowed[range(rows.start, rows.stop), tags] = True
            first += len(doc)
    return allowed


def get_agreeing(
    examples: Sequence[Example], scheme: TaggingScheme, labels: Sequence[str]
) -> numpy.ndarray:
    """Find the tags that agree with the annotation.

    examples (Sequence[Example]): The batch.
    scheme (TaggingScheme): The tags.
    labels (Sequence[str]): The labels.
    RETURNS (ndarray): Whether each tag of each predicted token agrees. All do where annotation is
        missing. (N, tags)
    RAISES (ValueError): If an entity has another label.
    """
    names = [name for eg in examples for name in get_learnable_ner(eg)]
    agreeing = numpy.ones((len(names), scheme.n_tags), dtype=bool)
    tags = numpy.full(len(names), -1)
    numbers = {"O": scheme.outside}
    for i, name in enumerate(names):
        if name is None or name == "-":
            continue
        if name not in numbers:
            part, label = split_bilu_label(name)
            if label not in labels:
                raise ValueError(_describe_unknown(examples, label, labels))
            numbers[name] = scheme.get_tag(labels.index(label), _PARTS[part])
        tags[i] = numbers[name]
    is_known = tags >= 0
    agreeing[is_known] = False
    agreeing[is_known, tags[is_known]] = True
    return agreeing


def get_learnable_ner(eg: Example) -> list[str | None]:
    """RETURNS (List[Optional[str]]): The gold BILUO tag of each predicted token, None if missing,
    as far as it may be predicted: white space at the ends of an entity is cut off, and an entity
    that crosses the start of a sentence is missing.
    """
    names = get_aligned_ner(eg)
    known = eg.predicted.to_array([IS_SPACE, SENT_START]).reshape(-1, 2)
    is_space, is_start = known[:, 0] == 1, known[:, 1] == 1
    if not is_space.any() and not is_start[1:].any():
        return names
    for start, end, label in _get_entities(names):
        words = start + numpy.flatnonzero(~is_space[start:end])
        names[start:end] = ["O"] * (end - start)
        if not len(words):
            continue
        first, last = int(words[0]), int(words[-1])
        n_words = last + 1 - first
        if is_start[first + 1 : last + 1].any():
            names[first : last + 1] = [None] * n_words
        else:
            names[first : last + 1] = _get_names(label, n_words)
    return names


def find_white_space(examples: Sequence[Example]) -> Span | None:
    """RETURNS (Optional[Span]): The first annotated entity that begins or ends with white space."""
    for eg in examples:
        if eg.reference.to_array([IS_SPACE]).any():
            for ent in eg.reference.ents:
                if ent[0].is_space or ent[-1].is_space:
                    return ent
    return None


def _get_entities(names: Sequence[str | None]) -> list[tuple[int, int, str]]:
    """RETURNS (List[Tuple[int, int, str]]): Start, end (exclusive) and label of each entity."""
    entities, start = [], 0
    for i, name in enumerate(names):
        part, label = split_bilu_label(name) if name and "-" in name[1:] else ("", "")
        if part in ("B", "U"):
            start = i
        if part in ("L", "U"):
            entities.append((start, i + 1, label))
    return entities


def _get_names(label: str, length: int) -> list[str]:
    if length == 1:
        return [f"U-{label}"]
    return [f"B-{label}", *[f"I-{label}"] * (length - 2), f"L-{label}"]


def get_aligned_ner(eg: Example) -> list[str | None]:
    """RETURNS (List[Optional[str]]): The same as `eg.get_aligned_ner()`, many times as fast if
    predicted and annotated tokens are the same.
    """
    gold = eg.reference.to_array([ORTH, IS_SPACE, ENT_IOB]).reshape(-1, 3)
    if gold[:, 1].any() or not numpy.array_equal(eg.predicted.to_array([ORTH]), gold[:, 0]):
        return list(eg.get_aligned_ner())
    names: list[str | None]
    names = ["O" if iob == _IOB_OUTSIDE else None for iob in gold[:, 2].tolist()]
    for ent in eg.reference.ents:
        names[ent.start : ent.end] = _get_names(ent.label_, len(ent))
    return names


def get_wrong_spans(
    examples: Sequence[Example], key: str, labels: Sequence[str]
) -> list[tuple[int, int, int, int]]:
    """Read the spans that are known to be no entities.

    examples (Sequence[Example]): The batch.
    key (str): Their key in the reference's `spans`.
    labels (Sequence[str]): The labels. Spans with others are skipped.
    RETURNS (List[Tuple[int, int, int, int]]): The number of the example, start, end and label of
        each span in the predicted Doc.
    RAISES (ValueError): If a span is annotated as an entity too.
    """
    result = []
    for i, eg in enumerate(examples):
        wrong = eg.reference.spans.get(key, [])
        if not len(wrong):
            continue
        ents = {(ent.start_char, ent.end_char, ent.label_) for ent in eg.reference.ents}
        for span in wrong:
            if (span.start_char, span.end_char, span.label_) in ents:
                raise ValueError(
                    f"Span {span.text!r} ({span.label_}) in {eg.reference.text[:60]!r} is an "
                    f"entity, and in spans[{key!r}], which are no entities: remove one of them."
                )
        for span in eg.get_aligned_spans_y2x(list(wrong), allow_overlap=True):
            if span.label_ in labels:
                result.append((i, span.start, span.end, labels.index(span.label_)))
    return result


def get_blocked(doc: Doc) -> list[Span]:
    """RETURNS (List[Span]): The tokens of a Doc that must not be in an entity, one by one."""
    known = doc.to_array([ENT_IOB, ENT_TYPE]).reshape(-1, 2)
    is_blocked = (known[:, 0] == _IOB_BEGIN) & (known[:, 1] == 0)
    return [doc[i : i + 1] for i in numpy.flatnonzero(is_blocked).tolist()]


def _describe_unknown(examples: Sequence[Example], label: str, labels: Sequence[str]) -> str:
    ents = (ent for eg in examples for ent in eg.reference.ents if ent.label_ == label)
    ent = next(ents)
    return (
        f"Can't learn entity {ent.text!r} in {ent.doc.text[:60]!r}: its label {label!r} is not one "
        f"of {', '.join(labels)}. Add it with add_label (for a component with a `source`, in a "
        "callback at [initialize] before_init), or initialise with data (or a labels file, "
        "[initialize.components]) that has it."
    )
