"""Rehearsal of models with a CRF."""

from collections.abc import Iterable, Sequence
from typing import Any

from spacy.pipeline.trainable_pipe import TrainablePipe
from spacy.training import Example
from thinc.api import Model, Ops

from ..layers.crf import LEARNED, CRFScores, MemberScores
from ..layers.ragged import join, split


class RehearsedCRF(TrainablePipe):
    """A component with a CRF that can be rehearsed, like spaCy's tagger and `ner`."""

    # The model before training, set by nlp.resume_training.
    _rehearsal_model: Model | None

    def rehearse(
        self, examples: Iterable[Example], *, losses: dict[str, float] | None = None, **kwargs: Any
    ) -> dict[str, float]:
        """Update the model towards the scores of the model before training. Its layers rehearse
        meanwhile. The arguments are as in `update`; only the predicted Docs are read.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        if self._rehearsal_model is None:
            return losses
        return TrainablePipe.update(self, list(examples), losses=losses, **kwargs)

    def get_loss(self, examples: Iterable[Example], scores: Any) -> tuple[float, Any]:
        """RETURNS (Tuple[float, List[CRFScores]]): The loss of rehearsal and its gradient."""
        assert self._rehearsal_model is not None
        targets = self._rehearsal_model.predict([eg.predicted for eg in examples])
        return compare_scores(self.model.ops, scores, targets)


def compare_scores(
    ops: Ops, members: Sequence[CRFScores], targets: Sequence[CRFScores]
) -> tuple[float, MemberScores]:
    """Compute half of the squared error of scores against a teacher's.

    ops (Ops): The model's backend.
    members (Sequence[CRFScores]): The scores of each member for a batch.
    targets (Sequence[CRFScores]): The scores of its teacher. Tags that were added later, which
        the teacher does not have, have no error.
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
