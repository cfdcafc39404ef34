"""What an entity recogniser is trained to do: make what is annotated probable."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Ops

from ..layers.crf import CRFScores, from_tensors, get_zeros, to_tensors
from ..layers.crf_ensemble import join_gradients
from ..modules.crf.span_crf import SpanCRF
from ..modules.crf.tagging_scheme import TaggingScheme
from ..modules.workers import one_torch_thread
from .entity_tags import get_agreeing, get_allowed, get_wrong_spans


@dataclass(frozen=True)
class Truth:
    """What is annotated in a batch.

    allowed (ndarray): The tags that are possible. (N, tags)
    agreeing (ndarray): Those of them that agree with the annotation. (N, tags)
    wrong (List[Tuple[int, int, int, int]]): The spans that are known to be no entities: the number
        of the Doc, start, end (exclusive) and label.
    """

    allowed: numpy.ndarray
    agreeing: numpy.ndarray
    wrong: list[tuple[int, int, int, int]]


@dataclass(frozen=True)
class EntityObjective:
    """The loss of an entity recogniser.

    name (str): The name of the component, for messages.
    scheme (TaggingScheme): The tags.
    labels (Sequence[str]): The labels.
    output (str): "crf", or "softmax" if each token's tag is learned by itself.
    incorrect_spans_key (Optional[str]): Where in the `spans` of training data there are spans that
        are known to be no entities.
    """

    name: str
    scheme: TaggingScheme
    labels: Sequence[str]
    output: str = "crf"
    incorrect_spans_key: str | None = None

    def compute_loss(
        self, ops: Ops, examples: Sequence[Example], scores: CRFScores
    ) -> tuple[float, CRFScores]:
        """Find the loss, the negative logarithm of the probability of what is annotated, and its
        gradient. If the scores have members, it is the mean of their losses, and the gradient has
        that of each for itself.

        ops (Ops): The model's backend.
        examples (Sequence[Example]): The batch.
        scores (CRFScores): What the model returned for it.
        RETURNS (Tuple[float, CRFScores]): The loss and its gradient.
        RAISES (ValueError): If the loss is no number.
        """
        docs = [eg.predicted for eg in examples]
        members = scores.members or [scores]
        if any(map(len, docs)):
            losses, gradients = [], []
            with one_torch_thread():
                truth = self._read(docs, examples)
                for i, member in enumerate(members):
                    loss, gradient = self._compute_loss(ops, docs, truth, member, warn=i == 0)
                    losses.append(loss)
                    gradients.append(gradient)
        else:
            losses, gradients = [0.0 for _ in members], list(map(get_zeros, members))
        return sum(losses) / len(losses), join_gradients(scores, gradients)

    def _compute_loss(
        self, ops: Ops, docs: list[Doc], truth: Truth, scores: CRFScores, *, warn: bool
    ) -> tuple[float, CRFScores]:
        with torch.inference_mode(False), torch.enable_grad():
            leaves = to_tensors(ops, scores)
            for leaf in leaves.values():
                leaf.requires_grad_()
            loss = self._get_loss(docs, truth, leaves, warn=warn)
            if loss.isnan():
                raise ValueError(
                    f"The loss of component {self.name!r} is not a number: training has diverged. "
                    "Try a lower learn rate, or grad_clip in [training.optimizer]."
                )
            grads = torch.autograd.grad(
                loss, list(leaves.values()), materialize_grads=True, allow_unused=True
            )
        gradient = dict(zip(leaves, grads, strict=True))
        return float(loss.detach()), from_tensors(gradient, [len(doc) for doc in docs])

    def _get_loss(
        self, docs: list[Doc], truth: Truth, scores: dict[str, torch.Tensor], *, warn: bool
    ) -> torch.Tensor:
        legal = self.scheme.select_legal(scores["transitions"])
        # In double precision: a loss is a small difference of large sums.
        crf = SpanCRF(
            self.scheme,
            scores["emissions"].double(),
            legal.map(torch.Tensor.double),
            scores["start"].double(),
            scores["end"].double(),
            [len(doc) for doc in docs],
        )
        device = scores["emissions"].device
        allowed, agreeing = (
            torch.from_numpy(mask).to(device) for mask in (truth.allowed, truth.agreeing)
        )
        if self.output == "softmax":
            loss = crf.get_token_losses(agreeing).sum()
        else:
            losses = crf.get_losses(allowed, agreeing)
            possible = losses != torch.inf
            loss = losses[possible].sum()
            # What is possible does not depend on the scores.
            if warn and not possible.all():
                self._warn_of_impossible(docs, crf.layout.ranking[~possible].tolist())
        if truth.wrong:
            loss = loss + crf.get_span_losses(allowed, truth.wrong).sum()
        return loss

    def _read(self, docs: list[Doc], examples: Sequence[Example]) -> Truth:
        allowed = get_allowed(docs, self.scheme, self.labels)
        agreeing = get_agreeing(examples, self.scheme, self.labels)
        key = self.incorrect_spans_key
        wrong = get_wrong_spans(examples, key, self.labels) if key else []
        return Truth(allowed, agreeing, wrong)

    def _warn_of_impossible(self, docs: list[Doc], numbers: list[int]) -> None:
        # At the caller of the component's get_loss.
        warnings.warn(
            f"Component {self.name!r} can't learn from {len(numbers)} of {len(docs)} texts, since "
            "no sequence of entities agrees with what is annotated and with the constraints, such "
            f"as those of sentence starts. The first is {docs[numbers[0]].text[:60]!r}.",
            stacklevel=6,
        )
