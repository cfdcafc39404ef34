"""What ablation is measured on: number agreement of a language model, or a component's scores."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy
from spacy.language import Language
from spacy.scorer import Scorer as PipelineScorer
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch
from thinc.api import Model

from ..layers.lm import Scorer
from ..layers.ragged import join, split
from ..layers.torch_arrays import require_torch, to_torch, to_xp
from ..layers.torch_shim import get_shim
from ..modules.lm.vocabulary import UNKNOWN_ID
from ..modules.networks import ENCODER, LM_STACK
from .agreement import Item
from .encoders import find_encoder, replace_forward
from .prefix_tree import PrefixTree

BATCH_DOCS = 512


class AgreementTask:
    """Number agreement of a language model's forward direction. Words that several items begin with
    are read once.

    scorer (Scorer): The model.
    items (Iterable[Item]): The items. Those with a form that is not in the vocabulary are skipped.
    """

    def __init__(self, scorer: Scorer, items: Iterable[Item]):
        require_torch("Ablation")
        import torch

        from ..modules.rnn.ablation import AblationRun
        from ..modules.rnn.trace import trace_lm

        if scorer.stack.network != LM_STACK:
            raise ValueError("The language model has no recurrent layers to ablate.")
        self._scorer = scorer
        groups: dict[str, list[Item]] = {}
        for item in items:
            if UNKNOWN_ID not in scorer.vocabulary.get_ids([item.correct, item.wrong]):
                groups.setdefault(item.condition, []).append(item)
        if not groups:
            raise ValueError("All items have a form that is not in the model's vocabulary.")
        self.conditions = list(groups)
        self._ends = numpy.cumsum([len(group) for group in groups.values()])[:-1]
        flat = [item for group in groups.values() for item in group]
        tree = PrefixTree.from_sequences([item.prefix for item in flat])
        # Each pair of a prefix and a form is scored once.
        ids = scorer.vocabulary.get_ids(form for i in flat for form in (i.correct, i.wrong))
        pairs = numpy.stack([tree.ends.repeat(2), numpy.asarray(ids)], axis=1)
        self._pairs, places = numpy.unique(pairs, axis=0, return_inverse=True)
        self._places = places.reshape(-1, 2)
        stack = scorer.stack.require_module()
        distinct = list(dict.fromkeys(tree.words))
        table = to_torch(scorer.embed_words(distinct), scorer.stack.device)
        numbers = {word: i for i, word in enumerate(distinct)}
        rows = torch.tensor([numbers[word] for word in tree.words], device=table.device)
        with torch.inference_mode():
            X = torch.cat([stack.boundary.to(table), table[rows]])
        self._run = AblationRun(trace_lm(stack, 0, tree), X)
        self.shape = len(stack.layers), 1, stack.units

    def measure(self, changes: Mapping) -> list[numpy.ndarray]:
        """RETURNS (List[ndarray]): For each item of each condition 1.0 if the correct form is more
        probable, or else 0.0.
        """
        Y: Any = to_xp(self._run.run(changes))
        nodes = self._scorer.model.ops.xp.asarray(self._pairs[:, 0])
        logs = self._scorer.get_word_logs(Y[nodes], self._pairs[:, 1].tolist())[self._places]
        return numpy.split((logs[:, 0] > logs[:, 1]).astype("d"), self._ends)


class ScoreTask:
    """Scores of a pipeline, with changes in the encoder of a component.

    nlp (Language): The pipeline.
    examples (Iterable[Example]): Examples with annotation.
    component (str): The name of a component with a spacy-rnn.RNNEncoder.v1.
    scores (Sequence[str]): The names of scores, as `spacy evaluate` prints them in JSON.
    """

    def __init__(
        self, nlp: Language, examples: Iterable[Example], component: str, scores: Sequence[str]
    ):
        require_torch("Ablation")
        self._nlp, self._encoder = nlp, find_encoder(nlp, component, ENCODER)
        self.conditions = list(scores)
        module = get_shim(self._encoder).require_module()
        weights = module.get_weights()
        self.shape = len(weights), len(weights[0]), weights[0][0][1].shape[1]
        self._examples = list(examples)
        names = nlp.pipe_names
        if component not in names:
            raise ValueError(f"Component {component!r} is disabled.")
        self._later = nlp.pipeline[names.index(component) :]
        # Earlier components run once.
        docs = [example.predicted for example in self._examples]
        docs = self._annotate(nlp.pipeline[: names.index(component)], docs)
        self._batches = [list(batch) for batch in minibatch(docs, BATCH_DOCS)]
        self._runs: list[Any] = []
        with replace_forward(self._encoder, self._record):
            self._score()

    def measure(self, changes: Mapping) -> list[numpy.ndarray]:
        """RETURNS (List[ndarray]): Each score. Each (1,)"""
        calls = iter(self._runs)

        def forward(model: Model, Xs: Any, is_train: bool) -> Any:
            run = next(calls)
            if run is None:
                return [model.ops.alloc2f(0, model.get_dim("nO")) for _ in Xs], None
            return split(to_xp(run.run(changes)), [len(X) for X in Xs]), None

        with replace_forward(self._encoder, forward):
            found = self._score()
        for name in self.conditions:
            if not isinstance(found.get(name), float):
                known = sorted(key for key, value in found.items() if isinstance(value, float))
                raise ValueError(f"There is no score {name!r}: choose among {', '.join(known)}.")
        return [numpy.array([found[name]]) for name in self.conditions]

    def _record(self, model: Model, Xs: Any, is_train: bool) -> Any:
        """Run the encoder, and keep what it takes to run it again."""
        from ..modules.rnn.ablation import AblationRun
        from ..modules.rnn.trace import trace_encoder

        shim, lengths = get_shim(model), [len(X) for X in Xs]
        if not any(lengths):
            self._runs.append(None)
            return [model.ops.alloc2f(0, model.get_dim("nO")) for _ in Xs], None
        X = to_torch(join(model.ops, Xs), shim.device)
        run = AblationRun(trace_encoder(shim.require_module(), lengths), X)
        self._runs.append(run)
        return split(to_xp(run.output), lengths), None

    def _score(self) -> dict[str, Any]:
        found = []
        for batch in self._batches:
            found += self._annotate(self._later, [doc.copy() for doc in batch])
        examples = [
            Example(doc, example.reference)
            for doc, example in zip(found, self._examples, strict=True)
        ]
        return PipelineScorer(nlp=self._nlp).score(examples)

    @staticmethod
    def _annotate(pipes: Sequence[tuple[str, Any]], docs: list[Doc]) -> list[Doc]:
        for _, pipe in pipes:
            # In one batch, so that the encoder is called in the same order each time.
            if hasattr(pipe, "predict") and hasattr(pipe, "set_annotations"):
                pipe.set_annotations(docs, pipe.predict(docs))
            else:
                docs = [pipe(doc) for doc in docs]
        return docs
