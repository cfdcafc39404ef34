"""The loss of an entity recogniser."""

from collections.abc import Sequence

import numpy
from spacy.training import Example
from thinc.api import Ops

from ..layers.crf import CRFScores, MemberScores, from_numpy, get_zeros, to_numpy
from ..modules.crf.span_crf import SpanCRF
from ..modules.crf.tagging_scheme import TaggingScheme
from .entity_tags import get_agreeing, get_allowed, get_wrong_spans


def compute_entity_loss(
    ops: Ops,
    examples: Sequence[Example],
    members: MemberScores,
    scheme: TaggingScheme,
    labels: Sequence[str],
    *,
    output: str,
    incorrect_spans_key: str | None,
) -> tuple[float, MemberScores, list[int]]:
    """Compute the negative log-likelihood of the annotation and its gradient.

    ops (Ops): The model's backend.
    examples (Sequence[Example]): The batch.
    members (List[CRFScores]): The scores of each member of the model.
    scheme (TaggingScheme): The tags.
    labels (Sequence[str]): The labels.
    output (str): "crf", or "softmax" if each token's tag is learned independently.
    incorrect_spans_key (Optional[str]): The key in the reference's `spans` of spans that are known
        to be no entities.
    RETURNS (Tuple[float, List[CRFScores], List[int]]): The mean of the members' losses, the
        gradient of each for itself, and the numbers of the examples that no allowed sequence of
        tags agrees with. They have no loss.
    """
    docs = [eg.predicted for eg in examples]
    lengths = [len(doc) for doc in docs]
    if not any(lengths):
        return 0.0, [get_zeros(member) for member in members], []
    losses: list[float] = []
    gradients: list[CRFScores] = []
    impossible: list[int] = []
    allowed, agreeing = get_allowed(docs, scheme, labels), get_agreeing(examples, scheme, labels)
    key = incorrect_spans_key
    wrong = get_wrong_spans(examples, key, labels) if key else []
    for member in members:
        crf = _make_crf(ops, member, scheme, lengths)
        if output == "softmax":
            of_parts, backprop = crf.get_token_losses(agreeing)
        else:
            of_parts, backprop = crf.get_losses(allowed, agreeing)
            # The same for all members.
            impossible = crf.layout.ranking[of_parts == numpy.inf].tolist()
        is_possible = of_parts != numpy.inf
        loss, gradient = of_parts[is_possible].sum(), backprop(is_possible.astype("float64"))
        if wrong:
            of_parts, backprop = crf.get_span_losses(allowed, wrong)
            loss += of_parts.sum()
            gradient = gradient.add(backprop(numpy.ones(len(wrong))))
        losses.append(float(loss))
        transitions = scheme.add_legal(gradient.transitions.astype("float32"))
        arrays = {**gradient._asdict(), "transitions": transitions}
        gradients.append(from_numpy(ops, arrays, lengths))
    return sum(losses) / len(losses), gradients, impossible


def _make_crf(ops: Ops, member: CRFScores, scheme: TaggingScheme, lengths: list[int]) -> SpanCRF:
    # In double precision, as a loss is a small difference of large sums.
    scores = to_numpy(ops, member)
    legal = scheme.select_legal(scores["transitions"]).astype("float64")
    names = ("emissions", "start", "end")
    emissions, start, end = (scores[name].astype("float64") for name in names)
    return SpanCRF(scheme, emissions, legal, start, end, lengths)
