from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from spacy.language import Language
from spacy.pipeline.tok2vec import Tok2Vec, Tok2VecListener
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer, set_dropout_rate
from thinc.types import Floats2d

from ..checks import check_weights
from ..layers.bilm_listener import Gradients
from .mixin import RNNPipeMixin
from .settings import Setting

DEFAULT_CONFIG = """
[model]
@architectures = "spacy.Tok2Vec.v2"

[model.embed]
@architectures = "spacy-rnn.LexemeEmbed.v1"
width = 128

[model.encode]
@architectures = "spacy-rnn.RNNEncoder.v1"
width = 256
depth = 2
cell = "lstm"
"""


@Language.factory(
    "rnn_tok2vec",
    assigns=["doc.tensor"],
    default_config={"model": Config().from_str(DEFAULT_CONFIG)["model"], "loss_weights": {}},
)
def make_rnn_tok2vec(
    nlp: Language,
    name: str,
    model: Model[list[Doc], list[Floats2d]],
    loss_weights: dict[str, float],
) -> "RNNTok2Vec":
    """Construct an RNNTok2Vec.

    model (Model[List[Doc], List[Floats2d]]): Embeds the tokens in context.
    loss_weights (Dict[str, float]): The weights of the losses of listening components in the
        training of the encoder, by the component's name. The others have a weight of 1; 0 keeps a
        component's loss from the encoder. The component's own layers don't depend on it.
    RETURNS (RNNTok2Vec): The component.
    """
    return RNNTok2Vec(nlp.vocab, model, name, loss_weights=loss_weights)


class RNNTok2Vec(RNNPipeMixin, Tok2Vec):
    """spaCy's `tok2vec` for components that share an encoder, each through a layer
    spacy.Tok2VecListener.v1.

    `loss_weights` scale the gradients that listeners send back. With Adam, whose steps don't depend
    on the scale of a parameter's gradient, this equals a weight of the component's whole loss.

    The encoder learns from every listener that has learned from a batch. In spaCy's class it learns
    nothing if the last one has not, because it is frozen, or a parser and the batch has no trees.

    vocab (Vocab): The shared vocabulary.
    model (Model[List[Doc], List[Floats2d]]): Embeds the tokens in context.
    name (str): The component's name.
    loss_weights (Dict[str, float]): The weights of the losses of listening components.
    """

    loss_weights = Setting(check_weights, {})

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats2d]],
        name: str = "rnn_tok2vec",
        *,
        loss_weights: dict[str, float] | None = None,
    ):
        super().__init__(vocab, model, name)
        # spaCy forgets disabled components, which may have a weight.
        self._known_listeners: set[str] = set()
        self._batch: _Batch | None = None
        self.check_settings(loss_weights={} if loss_weights is None else dict(loss_weights))

    def add_listener(self, listener: Tok2VecListener, component_name: str) -> None:
        """Add a component's listener."""
        super().add_listener(listener, component_name)
        self._known_listeners.add(component_name)

    def remove_listener(self, listener: Tok2VecListener, component_name: str) -> bool:
        """Remove a component's listener. RETURNS (bool): Whether it was there."""
        is_removed = super().remove_listener(listener, component_name)
        if component_name not in self.listener_map:
            self._known_listeners.discard(component_name)
        return is_removed

    def initialize(
        self, get_examples: Callable[[], Iterable[Example]], *, nlp: Language | None = None
    ) -> None:
        """Initialise the model.

        get_examples (Callable[[], Iterable[Example]]): Returns the training data.
        nlp (Optional[Language]): The pipeline.
        RAISES (ValueError): If a name in `loss_weights` is not a listening component's.
        """
        self._check_names()
        super().initialize(get_examples, nlp=nlp)

    def update(  # type: ignore[override]
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Compute the vectors of a batch for the listeners, whose gradients train the encoder. The
        arguments are as in spaCy's class. The loss is the sum of their squares.

        RAISES (ValueError): If a name in `loss_weights` is not a listening component's.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "RNNTok2Vec.update")
        self._check_names()
        self._backprop()
        docs = [eg.predicted for eg in examples]
        set_dropout_rate(self.model, drop)
        tokvecs, backprop = self.model.begin_update(docs)
        self._batch = _Batch(docs, Gradients(docs, tokvecs, backprop), losses, sgd)
        batch_id = Tok2VecListener.get_batch_id(docs)
        for name, listeners in self.listener_map.items():
            weight = self.loss_weights.get(name, 1.0)
            for listener in listeners:
                add = partial(self._add_gradient, id(listener), weight)
                listener.receive(batch_id, tokvecs, add)
        return losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Update the weights. `nlp.update` with an optimizer calls this before the listeners have
        learned from the batch, so that their gradients count in the next update, as in spaCy's
        class. `spacy train` calls it afterwards.
        """
        if self._batch is not None and not self._batch.gradients.is_empty:
            self._backprop()
        self.model.finish_update(sgd)

    def _add_gradient(self, listener: int, weight: float, dYs: list[Any]) -> list[Doc]:
        """Take the gradient of a listener. The last one starts the backward pass."""
        batch = self._batch
        if batch is not None:
            dYs = [weight * dY for dY in dYs]
            batch.gradients.add(batch.docs, dYs)
            batch.losses[self.name] += sum(float((dY**2).sum()) for dY in dYs)
            batch.finished.add(listener)
            if batch.finished.issuperset(map(id, self.listeners)):
                self._backprop()
                if batch.sgd is not None:
                    self.finish_update(batch.sgd)
        return []

    def _backprop(self) -> None:
        batch, self._batch = self._batch, None
        if batch is None:
            return
        if not batch.gradients.is_empty:
            batch.gradients.backprop()
        # A component that trains later, with this one frozen, must not see this batch.
        for listener in self.listeners:
            listener._batch_id = listener._outputs = listener._backprop = None

    def _check_names(self) -> None:
        for name in self.loss_weights:
            if name not in self._known_listeners:
                listening = ", ".join(map(repr, sorted(self._known_listeners))) or "none"
                raise ValueError(
                    f"Setting loss_weights of component {self.name!r} has a weight for {name!r}, "
                    f"but no component of that name listens to it. Those that do: {listening}."
                )


@dataclass
class _Batch:
    """A batch that listeners learn from."""

    docs: list[Doc]
    gradients: Gradients
    losses: dict[str, float]
    sgd: Optimizer | None
    finished: set[int] = field(default_factory=set)

    def __reduce__(self) -> Any:
        # A copy of a pipeline begins with its next batch.
        return type(None), ()
