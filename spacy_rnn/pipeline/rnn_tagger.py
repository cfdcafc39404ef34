import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy
from spacy.attrs import TAG
from spacy.language import Language
from spacy.pipeline.tagger import Tagger
from spacy.training import Example, validate_get_examples
from thinc.api import Config, Model

from ..checks import check_flag, check_share, check_text
from .flat_loss import compute_flat_loss, read_gold
from .labels import find_labels
from .mixin import RNNPipeMixin
from .settings import Setting

DEFAULT_CONFIG = """
[model]
@architectures = "spacy.Tagger.v2"

[model.tok2vec]
@architectures = "spacy.Tok2Vec.v2"

[model.tok2vec.embed]
@architectures = "spacy-rnn.LexemeEmbed.v1"
width = null

[model.tok2vec.encode]
@architectures = "spacy-rnn.RNNEncoder.v1"
width = 256
depth = 2
cell = "lstm"
"""


@Language.factory(
    "rnn_tagger",
    assigns=["token.tag"],
    default_config={
        "model": Config().from_str(DEFAULT_CONFIG)["model"],
        "overwrite": False,
        "scorer": {"@scorers": "spacy.tagger_scorer.v1"},
        "neg_prefix": "!",
        "label_smoothing": 0.0,
    },
    default_score_weights={"tag_acc": 1.0},
)
def make_rnn_tagger(
    nlp: Language,
    name: str,
    model: Model,
    overwrite: bool,
    scorer: Callable | None,
    neg_prefix: str,
    label_smoothing: float,
) -> "RNNTagger":
    """Construct an RNNTagger.

    model (Model[List[Doc], List[Floats2d]]): A model with a score for each token and tag.
    overwrite (bool): Whether to overwrite existing tags.
    scorer (Optional[Callable]): The scoring method.
    neg_prefix (str): The prefix of a tag that a token is known not to have.
    label_smoothing (float): The probability that is spread over all tags in training.
    RETURNS (RNNTagger): The component.
    """
    return RNNTagger(
        nlp.vocab,
        model,
        name,
        overwrite=overwrite,
        scorer=scorer,
        neg_prefix=neg_prefix,
        label_smoothing=label_smoothing,
    )


class RNNTagger(RNNPipeMixin, Tagger):
    """spaCy's tagger with a recurrent network: the same settings, labels, losses and scores.

    args, kwargs (Any): The arguments of spaCy's class.
    """

    overwrite = Setting(check_flag, False)
    neg_prefix = Setting(check_text, "!")
    label_smoothing = Setting(check_share, 0.0)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.check_settings()

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Find the tags, and initialise the model.

        get_examples (Callable[[], Iterable[Example]]): Returns the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): The tags, instead of those in the data.
        RAISES (ValueError): If there are none, or the wrong ones.
        """
        validate_get_examples(get_examples, "RNNTagger.initialize")
        found = find_labels(self, get_examples, labels, _read_tags, "token.tag_")
        super().initialize(get_examples, nlp=nlp, labels=sorted(found) if labels is None else found)
        if len(self.labels) == 1:
            warnings.warn(
                f"Component {self.name!r} has one tag only, {self.labels[0]!r}: there is nothing "
                "to learn. Has the training data tags? `spacy convert -c ner` writes '-' for all.",
                stacklevel=2,
            )

    def get_loss(self, examples: list[Example], scores: Any) -> tuple[float, Any]:
        """RETURNS (Tuple[float, List[Floats2d]]): The loss and its gradient as in spaCy's tagger,
        but several times as fast if predicted and gold tokens are the same.
        """
        truths = self._find_truths(examples)
        if truths is not None:
            sizes = [len(self.labels)]
            loss, gradient = compute_flat_loss(self.model.ops, scores, truths, sizes)
            if not math.isnan(loss):
                return loss, gradient
        try:
            return super().get_loss(examples, scores)
        except KeyError as err:
            raise ValueError(_unknown_tag(self, examples)) from err

    def _find_truths(self, examples: list[Example]) -> numpy.ndarray | None:
        """RETURNS (Optional[ndarray]): The number of each token's tag, -1 if it is missing. None if
        tokens have to be aligned, or for label smoothing, negative or unknown tags. (N, 1)
        """
        if self.cfg["label_smoothing"] or not examples:
            return None
        tags = []
        for eg in examples:
            gold = read_gold(eg, [TAG])
            if gold is None:
                return None
            tags.append(gold[:, 0])
        strings = self.vocab.strings
        prefix = self.cfg["neg_prefix"]
        numbers = {
            strings.as_int(label): i
            for i, label in enumerate(self.labels)
            if not (prefix and label.startswith(prefix))
        }
        numbers[0] = -1
        try:
            found = [numbers[tag] for tag in numpy.concatenate(tags).tolist()]
        except KeyError:
            # A tag with neg_prefix, or an unknown one.
            return None
        return numpy.asarray(found, dtype="i").reshape(-1, 1)


def _read_tags(eg: Example) -> list[str]:
    strings = eg.reference.vocab.strings
    return [strings[tag] for tag in {*eg.reference.to_array(TAG).tolist()} if tag]


def _unknown_tag(tagger: RNNTagger, examples: list[Example]) -> str:
    known = {*tagger.labels, *(tagger.cfg["neg_prefix"] + label for label in tagger.labels), ""}
    token = next(token for eg in examples for token in eg.reference if token.tag_ not in known)
    return (
        f"Component {tagger.name!r} can't learn the tag {token.tag_!r} of token {token.i} "
        f"({token.text!r}) in {token.doc.text[:60]!r}: it was not among the {len(tagger.labels)} "
        "tags at initialisation. Initialise with data (or a labels file, [initialize.components]) "
        "that has all tags."
    )
