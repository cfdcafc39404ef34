from collections.abc import Callable, Iterable
from typing import Any

from spacy.language import Language
from spacy.pipeline.textcat import TextCategorizer
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Config, Model
from thinc.types import Floats2d

from .textcat_mixin import SCORE_WEIGHTS, RNNTextCatMixin

DEFAULT_CONFIG = """
[model]
@architectures = "spacy-rnn.RNNTextCat.v1"
exclusive_classes = true

[model.tok2vec]
@architectures = "spacy.Tok2Vec.v2"

[model.tok2vec.embed]
@architectures = "spacy-rnn.LexemeEmbed.v1"
width = null

[model.tok2vec.encode]
@architectures = "spacy-rnn.RNNEncoder.v1"
width = 256
depth = 1
cell = "gru"

[model.linear_model]
@architectures = "spacy.TextCatBOW.v3"
exclusive_classes = true
length = 65536
ngram_size = 2
no_output_layer = true
"""


@Language.factory(
    "rnn_textcat",
    assigns=["doc.cats"],
    default_config={
        "model": Config().from_str(DEFAULT_CONFIG)["model"],
        "threshold": 0.0,
        "attention_key": None,
        "scorer": {"@scorers": "spacy.textcat_scorer.v2"},
    },
    default_score_weights=SCORE_WEIGHTS,
)
def make_rnn_textcat(
    nlp: Language,
    name: str,
    model: Model[list[Doc], Floats2d],
    threshold: float,
    attention_key: str | None,
    scorer: Callable | None,
) -> "RNNTextCategorizer":
    """Construct an RNNTextCategorizer.

    model (Model[List[Doc], Floats2d]): A model with a probability for each text and label.
    threshold (float): Not used, as in spaCy's: the labels exclude each other.
    attention_key (Optional[str]): The key in `doc.user_data` for attention weights. None stores
        none.
    scorer (Optional[Callable]): The scoring method.
    RETURNS (RNNTextCategorizer): The component.
    """
    return RNNTextCategorizer(
        nlp.vocab, model, name, threshold=threshold, attention_key=attention_key, scorer=scorer
    )


class RNNTextCategorizer(RNNTextCatMixin, TextCategorizer):
    """spaCy's `textcat` with a recurrent network: one label a text."""

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Iterable[str] | None = None,
        positive_label: str | None = None,
    ) -> None:
        """Find the labels, and initialise the model.

        get_examples (Callable[[], Iterable[Example]]): Returns the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[Iterable[str]]): The labels, instead of those in the data.
        positive_label (Optional[str]): Of two labels, the one whose F-score is reported.
        RAISES (ValueError): If there are fewer than two, or the wrong ones.
        """
        found = self.find_labels(get_examples, labels, 2)
        super().initialize(get_examples, nlp=nlp, labels=found, positive_label=positive_label)

    def _examples_to_truth(self, examples: Iterable[Example]) -> Any:
        # For spaCy's class, all labels of a text without categories are known to be wrong.
        examples = list(examples)
        truths, not_missing = super()._examples_to_truth(examples)
        not_missing[[not eg.reference.cats for eg in examples]] = 0.0
        return truths, not_missing
