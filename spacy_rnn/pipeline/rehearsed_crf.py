"""Rehearsal of models with a CRF."""

from collections.abc import Iterable, Sequence
from typing import Any

from spacy.pipeline.trainable_pipe import TrainablePipe
from spacy.training import Example, validate_examples
from thinc.api import Model, Ops, Optimizer, set_dropout_rate

from ..layers.crf import LEARNED, CRFScores, MemberScores
from ..layers.ragged import join, split


class RehearsedCRF(TrainablePipe):
    """A component with a CRF that can be rehearsed, like spaCy's tagger and `ner`."""

    # The model before training, set by nlp.resume_training.
    _rehearsal_model: Model | None

    def rehearse(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Update the model towards the scores of the model before training. The arguments are
        those of `update`; only the predicted Docs of the examples are read.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.rehearse")
        docs = [eg.predicted for eg in examples]
        if self._rehearsal_model is None or not any(map(len, docs)):
            return losses
        targets = self._rehearsal_model.predict(docs)
        set_dropout_rate(self.model, drop)
        members, backprop = self.model.begin_update(docs)
        loss, gradients = compare_scores(self.model.ops, members, targets)
        backprop(gradients)
        if sgd is not None:
            self.finish_update(sgd)
        losses[self.name] += loss
        return losses


def compare_scores(
    ops: Ops, members: Sequence[CRFScores], targets: Sequence[CRFScores]
) -> tuple[float, MemberScores]:
    """Compute half of the squared error of scores against a teacher's.

    ops (Ops): The model's backend.
    members (Sequence[CRFScores]): The scores of each member for a batch.
    targets (Sequence[CRFScores]): Those of its teacher. Tags that a teacher does not have, because
        they were added later, have no error.
    RETURNS (Tuple[float, List[CRFScores]]): The mean over the members, and each one's gradient.
    """
    losses, gradients = [], []
    for member, target in zip(members, targets, strict=True):
        lengths = [len(Y) for Y in member.emissions]
        emissions = _subtract(*(join(ops, each.emissions) for each in (member, target)))
        learned = {
            name: _subtract(getattr(member, name), getattr(target, name)) for name in LEARNED
        }
        losses.append(sum((part**2).sum() for part in (emissions, *learned.values())))
        gradients.append(CRFScores(split(emissions, lengths), **learned))
    return float(sum(losses)) / (2 * len(losses)), gradients


def _subtract(array: Any, target: Any) -> Any:
    difference = 0 * array
    known = tuple(map(slice, target.shape))
    difference[known] = array[known] - target
    return difference
