"""What our text classifiers have in common, on top of the spaCy class each of them is."""

from collections.abc import Callable, Iterable
from typing import Any

from spacy.tokens import Doc, Token
from spacy.training import Example, validate_get_examples
from thinc.types import Floats2d

from ..checks import check_key, check_share
from ..layers.pool import get_attention
from ..layers.torch_shim import find_layers, get_shim
from ..modules.networks import POOLING
from .extensions import Extension, StoredSum
from .labels import find_labels
from .mixin import RNNPipeMixin
from .settings import Setting

# spaCy's default_score_weights of both kinds.
SCORE_WEIGHTS: dict[str, float | None] = {
    f"cats_{name}": None
    for name in ("score_desc", "micro_p", "micro_r", "micro_f", "macro_p", "macro_r", "macro_f")
}
SCORE_WEIGHTS |= {"cats_score": 1.0, "cats_macro_auc": None, "cats_f_per_type": None}


def _read_cats(eg: Example) -> list[str]:
    return list(eg.reference.cats)


class RNNTextCatMixin(RNNPipeMixin):
    """Give a text classifier attention weights, and zeros for an empty Doc in any batch. Goes
    before spaCy's class in the list of bases.

    args, kwargs (Any): The arguments of spaCy's class.
    attention_key (Optional[str]): The key in `doc.user_data` for attention weights, and the name of
        the tokens' extension attribute with the mean of the heads. None stores none.
    """

    threshold = Setting(check_share, 0.0)
    attention_key = Setting(check_key, None)
    extension_setting = "attention_key"

    model: Any

    def __init__(self, *args: Any, attention_key: str | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.check_settings(attention_key=attention_key)
        if attention_key is not None:
            self.require_attention()

    def find_labels(
        self,
        get_examples: Callable[[], Iterable[Example]],
        labels: Iterable[str] | None,
        n_least: int,
    ) -> list[str]:
        """Call the function `find_labels` for the categories of texts."""
        validate_get_examples(get_examples, f"{type(self).__name__}.initialize")
        return find_labels(self, get_examples, labels, _read_cats, "doc.cats", n_least)

    @property
    def extensions(self) -> list[Extension]:
        """RETURNS (List[Extension]): The attention weights of tokens, if there is a key."""
        key = self.attention_key
        return [] if key is None else [Extension(Token, key, StoredSum(key))]

    def predict(self, docs: Iterable[Doc]) -> Any:
        """RETURNS (Floats2d): A probability for each Doc and label; 0.0 for a Doc without tokens.
        (Docs, labels)
        """
        docs = list(docs)
        scores = super().predict(docs)
        scores[[i for i, doc in enumerate(docs) if not len(doc)]] = 0.0
        return scores

    def set_annotations(self, docs: Iterable[Doc], scores: Any) -> None:
        """Set the categories that `predict` returned, and the attention weights if there is an
        `attention_key`.
        """
        docs = list(docs)
        # As in spaCy's class, but faster for many labels.
        for doc, row in zip(docs, self.model.ops.to_numpy(scores).tolist(), strict=True):
            doc.cats.update(zip(self.labels, row, strict=True))
        key = self.attention_key
        if key is None:
            return
        # The key may be newer than the component.
        self.register_extensions()
        (attention,) = self.extensions
        for doc, weights in zip(docs, self.get_attention(docs), strict=True):
            doc.user_data[key] = weights
            for token, weight in zip(doc, weights.mean(axis=1).tolist(), strict=True):
                attention.store(token, weight)

    def get_attention(self, docs: Iterable[Doc]) -> list[Floats2d]:
        """Get the attention weights of tokens. Takes about as long as `predict`.

        docs (Iterable[Doc]): The batch.
        RETURNS (List[ndarray]): The weights of each Doc. Each head's add up to 1. (tokens, heads)
        RAISES (ValueError): If the model has no attention, or listens to a `tok2vec` that has not
            processed the Docs.
        """
        self.require_attention()
        docs, tok2vec = list(docs), self.model.get_ref("tok2vec")
        self.require_tok2vec(docs)
        (layer,), ops = find_layers(self.model, POOLING), self.model.ops
        return [ops.to_numpy(weights) for weights in get_attention(layer, tok2vec.predict(docs))]

    def require_attention(self) -> None:
        """Raise a ValueError if the model has no attention."""
        layers = find_layers(self.model, POOLING)
        if not any("attention" in get_shim(layer).settings["kinds"] for layer in layers):
            raise ValueError(
                f"Component {self.name!r} has no attention: add 'attention' to the "
                "setting pooling of spacy-rnn.RNNTextCat.v1, and train it."
            )
