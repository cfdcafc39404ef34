import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer, set_dropout_rate

from ..layers.bilm import get_weights
from ..layers.bilm_listener import Gradients, get_link
from ..layers.layer_cache import LayerCache
from ..layers.lm_weights import load_weights
from .extensions import Extension, Stored
from .mixin import RNNPipeMixin

DEFAULT_CONFIG = """
[model]
@architectures = "spacy-rnn.BiLM.v1"
width = 384
depth = 2

[model.embed]
@architectures = "spacy-rnn.LexemeEmbed.v1"
width = 384
attrs = ["LOWER", "PREFIX", "SUFFIX", "SHAPE"]
rows = [30000, 1000, 2500, 5000]
attr_widths = [192, 16, 32, 48]
affix_rows = 3000
affix_width = 32
ngram_rows = 50000
ngram_width = 64
"""
EXTENSION = "bilm"


@Language.factory(
    "bilm",
    assigns=["doc._.bilm"],
    default_config={
        "model": Config().from_str(DEFAULT_CONFIG)["model"],
        "frozen": True,
        "cache_mb": 0,
        "extension_prefix": "",
    },
)
def make_bilm(
    nlp: Language, name: str, model: Model, frozen: bool, cache_mb: int, extension_prefix: str
) -> "BiLM":
    """Construct a BiLM.

    model (Model[List[Doc], List[Floats3d]]): A language model, as spacy-rnn.BiLM.v1 makes it.
    frozen (bool): Whether its weights stay as they are while other components are trained.
    cache_mb (int): In training, how much memory may be used to keep what texts were encoded to for
        the next epoch, where the weights stay as they are. In megabytes.
    extension_prefix (str): Goes before the name of the extension attribute `doc._.bilm`.
    RETURNS (BiLM): The component.
    """
    return BiLM(
        nlp.vocab,
        model,
        name,
        frozen=frozen,
        cache_mb=cache_mb,
        extension_prefix=extension_prefix,
    )


class BiLM(RNNPipeMixin, TrainablePipe):
    """A pretrained language model, whose layers other components mix to their contextual
    embeddings (Peters et al. 2018, "Deep contextualized word representations"). They are in
    `doc._.bilm`, an array of shape (layers, tokens, width): layer 0 is the embeddings, which know
    no context; the forward direction's half comes first.

    vocab (Vocab): The shared vocabulary.
    model (Model[List[Doc], List[Floats3d]]): The language model.
    name (str): The component's name.
    frozen (bool): Whether the weights stay as they are.
    cache_mb (int): Memory for what texts were encoded to, in training, in megabytes.
    extension_prefix (str): Goes before the name of the extension attribute.
    """

    # What is predicted takes kilobytes for each token.
    max_window = 4_000

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str = "bilm",
        *,
        frozen: bool = True,
        cache_mb: int = 0,
        extension_prefix: str = "",
    ):
        self.vocab = vocab
        self.model = model
        self.name = name
        self.frozen = frozen
        self.cache_mb = cache_mb
        self.cfg = {}
        self.listener_map: dict[str, list[Model]] = {}
        self._gradients: Gradients | None = None
        self._cache = LayerCache(cache_mb)
        self.extension_prefix = extension_prefix
        self.register_extensions()

    @property
    def extensions(self) -> list[Extension]:
        """RETURNS (List[Extension]): The layers of a Doc."""
        name = f"{self.extension_prefix}{EXTENSION}"
        return [Extension(Doc, name, Stored(name))]

    @property
    def listeners(self) -> list[Model]:
        """RETURNS (List[Model]): The layers that listen to this component."""
        return [
            listener for name in self.listening_components for listener in self.listener_map[name]
        ]

    @property
    def listening_components(self) -> list[str]:
        """RETURNS (List[str]): The components that have such layers."""
        return list(self.listener_map)

    def add_listener(self, listener: Model, component_name: str) -> None:
        """Let a layer listen.

        listener (Model): The layer.
        component_name (str): The component that it is part of.
        """
        listeners = self.listener_map.setdefault(component_name, [])
        if listener not in listeners:
            listeners.append(listener)

    def remove_listener(self, listener: Model, component_name: str) -> bool:
        """Let a layer listen no more.

        listener (Model): The layer.
        component_name (str): The component that it is part of.
        RETURNS (bool): Whether it listened.
        """
        listeners = self.listener_map.get(component_name, [])
        if listener not in listeners:
            return False
        listeners.remove(listener)
        if not listeners:
            del self.listener_map[component_name]
        return True

    def find_listeners(self, component: Any) -> None:
        """Find the layers of a component that listen to this one.

        component (Callable): A component that comes later in the pipeline.
        """
        if isinstance(component, BiLM):
            raise ValueError(
                f"Components {self.name!r} and {component.name!r} would both write to "
                f"doc._.{EXTENSION}: a pipeline can have one language model for listeners."
            )
        model = getattr(component, "model", None)
        if not isinstance(model, Model):
            return
        for node in model.walk():
            link = get_link(node)
            if link is not None and link.upstream in ("*", self.name):
                link.connect(node, self.model, self.extensions[0].name)
                self.add_listener(node, component.name)

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        weights: str | Path | None = None,
    ) -> None:
        """Load pretrained weights, or make random ones.

        get_examples (Callable[[], Iterable[Example]]): Not needed: the weights know all sizes.
        nlp (Optional[Language]): The pipeline.
        weights (Optional[str / Path]): A pipeline that `spacy rnn pretrain` saved.
        RAISES (ValueError): If it is none, or made with other settings of the model.
        """
        self.model.initialize()
        if weights:
            load_weights(self.model, Path(weights))
        else:
            warnings.warn(
                f"Component {self.name!r} has no pretrained weights: its own are random. Set "
                f"weights in [initialize.components.{self.name}] to a pipeline that `spacy rnn "
                "pretrain` saved.",
                stacklevel=2,
            )

    def predict(self, docs: Iterable[Doc]) -> list[Any]:
        """Encode Docs, without changing them.

        docs (Iterable[Doc]): The Docs.
        RETURNS (List[Floats3d]): The layers of each. (layers, tokens, width)
        """
        return self.model.predict(list(docs))

    def set_annotations(self, docs: Sequence[Doc], scores: list[Any]) -> None:
        """Store what Docs were encoded to.

        docs (Sequence[Doc]): The Docs.
        scores (List[Floats3d]): What `predict` returned.
        """
        (extension,) = self.extensions
        for doc, layers in zip(docs, scores, strict=True):
            extension.store(doc, layers)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Encode a batch for the components that listen. Unless the model is frozen, it learns from
        their gradients.

        examples (Iterable[Example]): The batch.
        drop (float): The rate of dropout.
        sgd (Optional[Optimizer]): The optimizer, which also finishes the update before.
        losses (Optional[Dict[str, float]]): Gets this component's name, with 0.0.
        RETURNS (Dict[str, float]): The losses.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "BiLM.update")
        docs = [eg.predicted for eg in examples]
        if self.frozen:
            weights = get_weights(self.model)
            self.set_annotations(docs, self._cache.get_layers(docs, self.predict, weights))
            return losses
        self._finish_gradients()
        set_dropout_rate(self.model, drop)
        layers, backprop = self.model.begin_update(docs)
        self.set_annotations(docs, layers)
        self._gradients = Gradients(docs, layers, backprop)
        for listener in self.listeners:
            link = get_link(listener)
            assert link is not None
            link.gradients = self._gradients
        if sgd is not None:
            self.finish_update(sgd)
        return losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Update the weights with the gradients of the components that listen. `nlp.update` with an
        optimizer calls this before those have learned from the batch: what they give counts in the
        next update then, as with spaCy's `tok2vec`. `spacy train` calls it afterwards.

        sgd (Optimizer): The optimizer.
        """
        if not self.frozen:
            self._finish_gradients()
            self.model.finish_update(sgd)

    def get_loss(self, examples: Iterable[Example], scores: Any) -> tuple[float, Any]:
        """The component has no loss of its own."""
        raise NotImplementedError(f"Component {self.name!r} learns from those that listen to it.")

    def add_label(self, label: str) -> int:
        """The component has no labels."""
        raise NotImplementedError(f"Component {self.name!r} has no labels.")

    def _finish_gradients(self) -> None:
        if self._gradients is not None and not self._gradients.is_empty:
            self._gradients.backprop()
            self._gradients = None
