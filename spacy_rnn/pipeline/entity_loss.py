"""The loss of an entity recogniser."""

from collections.abc import Sequence

import torch
from spacy.training import Example
from thinc.api import Ops

from ..layers.crf import CRFScores, MemberScores, from_tensors, get_zeros, to_tensors
from ..layers.ragged import get_device
from ..modules.crf.span_crf import SpanCRF
from ..modules.crf.tagging_scheme import TaggingScheme
from ..modules.workers import one_torch_thread
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
    with one_torch_thread(), torch.inference_mode(False), torch.enable_grad():
        masks = get_allowed(docs, scheme, labels), get_agreeing(examples, scheme, labels)
        allowed, agreeing = (torch.from_numpy(mask).to(get_device(ops)) for mask in masks)
        key = incorrect_spans_key
        wrong = get_wrong_spans(examples, key, labels) if key else []
        for member in members:
            scores = to_tensors(ops, member)
            for leaf in scores.values():
                leaf.requires_grad_()
            crf = _make_crf(scheme, scores, lengths)
            if output == "softmax":
                loss = crf.get_token_losses(agreeing).sum()
            else:
                of_docs = crf.get_losses(allowed, agreeing)
                is_possible = of_docs != torch.inf
                loss = of_docs[is_possible].sum()
                # The same for all members.
                impossible = crf.layout.ranking[~is_possible].tolist()
            if wrong:
                loss = loss + crf.get_span_losses(allowed, wrong).sum()
            grads = torch.autograd.grad(
                loss, list(scores.values()), materialize_grads=True, allow_unused=True
            )
            losses.append(float(loss.detach()))
            gradients.append(from_tensors(dict(zip(scores, grads, strict=True)), lengths))
    return sum(losses) / len(losses), gradients, impossible


def _make_crf(
    scheme: TaggingScheme, scores: dict[str, torch.Tensor], lengths: list[int]
) -> SpanCRF:
    # In double precision, as a loss is a small difference of large sums.
    legal = scheme.select_legal(scores["transitions"]).map(torch.Tensor.double)
    emissions, start, end = (scores[name].double() for name in ("emissions", "start", "end"))
    return SpanCRF(scheme, emissions, legal, start, end, lengths)
