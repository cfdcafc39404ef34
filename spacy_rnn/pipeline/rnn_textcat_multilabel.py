from collections.abc import Callable, Iterable

from spacy.language import Language
from spacy.pipeline.textcat_multilabel import MultiLabel_TextCategorizer
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Config, Model
from thinc.types import Floats2d

from .rnn_textcat import DEFAULT_CONFIG
from .textcat_mixin import SCORE_WEIGHTS, RNNTextCatMixin

_MODEL = Config().from_str(DEFAULT_CONFIG)["model"]


@Language.factory(
    "rnn_textcat_multilabel",
    assigns=["doc.cats"],
    default_config={
        "model": {**_MODEL, "exclusive_classes": False, "linear_model": None},
        "threshold": 0.5,
        "attention_key": None,
        "scorer": {"@scorers": "spacy.textcat_multilabel_scorer.v2"},
    },
    default_score_weights=SCORE_WEIGHTS,
)
def make_rnn_textcat_multilabel(
    nlp: Language,
    name: str,
    model: Model[list[Doc], Floats2d],
    threshold: float,
    attention_key: str | None,
    scorer: Callable | None,
) -> "RNNMultiLabelTextCategorizer":
    """Construct an RNNMultiLabelTextCategorizer.

    model (Model[List[Doc], Floats2d]): A model with a probability for each text and label.
    threshold (float): From which probability on scorers count a label as predicted.
    attention_key (Optional[str]): The key in `doc.user_data` for attention weights. None stores
        none.
    scorer (Optional[Callable]): The scoring method.
    RETURNS (RNNMultiLabelTextCategorizer): The component.
    """
    return RNNMultiLabelTextCategorizer(
        nlp.vocab, model, name, threshold=threshold, attention_key=attention_key, scorer=scorer
    )


class RNNMultiLabelTextCategorizer(RNNTextCatMixin, MultiLabel_TextCategorizer):
    """spaCy's `textcat_multilabel` with a recurrent network: any number of labels a text."""

    def initialize(  # type: ignore[override]
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Iterable[str] | None = None,
    ) -> None:
        """Find the labels, and initialise the model.

        get_examples (Callable[[], Iterable[Example]]): Returns the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[Iterable[str]]): The labels, instead of those in the data.
        RAISES (ValueError): If there are none, or the wrong ones.
        """
        found = self.find_labels(get_examples, labels, 1)
        super().initialize(get_examples, nlp=nlp, labels=found)
