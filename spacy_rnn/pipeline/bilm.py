import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from spacy.language import Language
from spacy.pipeline.tok2vec import Tok2Vec
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer, set_dropout_rate

from ..layers.bilm import get_tensors
from ..layers.bilm_listener import Gradients, get_listener
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
    frozen (bool): Whether its weights are frozen while other components are trained.
    cache_mb (int): Megabytes of memory for the layers of training texts, for the next epoch. Only
        used if the weights are frozen.
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


class BiLM(RNNPipeMixin, Tok2Vec):
    """A pretrained language model, whose layers other components mix to their contextual
    embeddings (Peters et al. 2018, "Deep contextualized word representations"). They are in
    `doc._.bilm`, an array of shape (layers, tokens, width): layer 0 is the embeddings, without
    context; the forward direction's half comes first.

    vocab (Vocab): The shared vocabulary.
    model (Model[List[Doc], List[Floats3d]]): The language model.
    name (str): The component's name.
    frozen (bool): Whether the weights are frozen.
    cache_mb (int): Memory for the layers of training texts, in megabytes.
    extension_prefix (str): Goes before the name of the extension attribute.
    """

    # The layers take kilobytes for each token.
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
        super().__init__(vocab, model, name)
        self.frozen = frozen
        self.cache_mb = cache_mb
        self.extension_prefix = extension_prefix
        self._gradients: Gradients | None = None
        self._cache = LayerCache(cache_mb)
        self.register_extensions()

    @property
    def extensions(self) -> list[Extension]:
        """RETURNS (List[Extension]): The layers of a Doc."""
        name = f"{self.extension_prefix}{EXTENSION}"
        return [Extension(Doc, name, Stored(name))]

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
            listener = get_listener(node)
            if listener is not None and listener.upstream in ("*", self.name):
                listener.connect(node, self.model, self.extensions[0].name)
                self.add_listener(cast(Any, node), component.name)

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        weights: str | Path | None = None,
    ) -> None:
        """Load pretrained weights, or make random ones.

        get_examples (Callable[[], Iterable[Example]]): Not needed.
        nlp (Optional[Language]): The pipeline.
        weights (Optional[str / Path]): A pipeline that `spacy rnn pretrain` saved.
        RAISES (ValueError): If there is none, or one with other settings of the model.
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
        """RETURNS (List[Floats3d]): The layers of each Doc. (layers, tokens, width)"""
        return self.model.predict(list(docs))

    def set_annotations(self, docs: Sequence[Doc], scores: list[Any]) -> None:
        """Store the layers that `predict` returned."""
        (extension,) = self.extensions
        for doc, layers in zip(docs, scores, strict=True):
            extension.store(doc, layers)

    def update(  # type: ignore[override]
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Run the model for the components that listen. Unless it is frozen, it learns from their
        gradients. The arguments are as in spaCy's class; the loss is 0.0.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "BiLM.update")
        docs = [eg.predicted for eg in examples]
        if self.frozen:
            weights = get_tensors(self.model)
            self.set_annotations(docs, self._cache.get_layers(docs, self.predict, weights))
            return losses
        self._finish_gradients()
        set_dropout_rate(self.model, drop)
        layers, backprop = self.model.begin_update(docs)
        self.set_annotations(docs, layers)
        self._gradients = Gradients(docs, layers, backprop)
        for layer in self.listeners:
            listener = get_listener(layer)
            assert listener is not None
            listener.gradients = self._gradients
        if sgd is not None:
            self.finish_update(sgd)
        return losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Update the weights with the gradients of the components that listen. `nlp.update` with an
        optimizer calls this before those have learned from the batch, so that their gradients count
        in the next update, as with spaCy's `tok2vec`. `spacy train` calls it afterwards.
        """
        if not self.frozen:
            self._finish_gradients()
            self.model.finish_update(sgd)

    def _finish_gradients(self) -> None:
        if self._gradients is not None and not self._gradients.is_empty:
            self._gradients.backprop()
            self._gradients = None
