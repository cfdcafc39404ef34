"""Rehearsal of models with a CRF."""

from collections.abc import Iterable, Sequence
from typing import Any

from spacy.pipeline.trainable_pipe import TrainablePipe
from spacy.training import Example, validate_examples
from thinc.api import Model, Ops, Optimizer, set_dropout_rate

from ..layers.crf import LEARNED, CRFScores
from ..layers.crf_ensemble import get_members, join_gradients
from ..layers.ragged import join, split


class RehearsedCRF(TrainablePipe):
    """A component with a CRF that can be rehearsed, as spaCy's tagger and `ner` can."""

    # What training began with, which nlp.resume_training sets.
    _rehearsal_model: Model | None

    def rehearse(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Update the model towards the scores of the one that training began with.

        examples (Iterable[Example]): The batch, of which only the predicted Docs are read.
        drop (float): The dropout rate.
        sgd (Optional[Optimizer]): The optimizer.
        losses (Optional[Dict[str, float]]): Where to add the loss to.
        RETURNS (Dict[str, float]): The updated `losses`.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.rehearse")
        docs = [eg.predicted for eg in examples]
        if self._rehearsal_model is None or not any(map(len, docs)):
            return losses
        targets = [member.predict(docs) for member in get_members(self._rehearsal_model)]
        set_dropout_rate(self.model, drop)
        scores, backprop = self.model.begin_update(docs)
        loss, gradient = compare_scores(self.model.ops, scores, targets)
        backprop(gradient)
        if sgd is not None:
            self.finish_update(sgd)
        losses[self.name] += loss
        return losses


def compare_scores(
    ops: Ops, scores: CRFScores, targets: Sequence[CRFScores]
) -> tuple[float, CRFScores]:
    """Get half of the squared error of scores against a teacher's.

    ops (Ops): The model's backend.
    scores (CRFScores): What a model returned for a batch, with its members' in training.
    targets (Sequence[CRFScores]): The scores of each member's teacher, which may have fewer tags:
        those added later are left as they are.
    RETURNS (Tuple[float, CRFScores]): The mean over the members, and the gradient of each for
        itself.
    """
    losses, gradients = [], []
    for member, target in zip(scores.members or [scores], targets, strict=True):
        lengths = [len(Y) for Y in member.emissions]
        emissions = _subtract(*(join(ops, each.emissions) for each in (member, target)))
        learned = {
            name: _subtract(getattr(member, name), getattr(target, name)) for name in LEARNED
        }
        losses.append(sum((part**2).sum() for part in (emissions, *learned.values())))
        gradients.append(CRFScores(split(emissions, lengths), **learned))
    return float(sum(losses)) / (2 * len(losses)), join_gradients(scores, gradients)


def _subtract(array: Any, target: Any) -> Any:
    difference = 0 * array
    known = tuple(map(slice, target.shape))
    difference[known] = array[known] - target
    return difference
