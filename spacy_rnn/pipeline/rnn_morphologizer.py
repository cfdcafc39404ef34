from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy
from spacy.attrs import MORPH, POS
from spacy.errors import Errors
from spacy.language import Language
from spacy.morphology import Morphology
from spacy.pipeline.morphologizer import Morphologizer
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model

from ..checks import check_flag, check_share
from ..layers.factored_softmax import find_factored, set_sizes
from ..layers.ragged import join, split
from .flat_loss import compute_flat_loss, read_gold
from .labels import find_labels
from .mixin import RNNPipeMixin
from .morph_labels import CombinedLabels, FactoredLabels, Gold, make_label, parse_label
from .settings import Setting

DEFAULT_CONFIG = """
[model]
@architectures = "spacy-rnn.FactoredTagger.v1"

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
    "rnn_morphologizer",
    assigns=["token.morph", "token.pos"],
    default_config={
        "model": Config().from_str(DEFAULT_CONFIG)["model"],
        "overwrite": True,
        "extend": False,
        "scorer": {"@scorers": "spacy.morphologizer_scorer.v1"},
        "label_smoothing": 0.0,
    },
    default_score_weights={"pos_acc": 0.5, "morph_acc": 0.5, "morph_per_feat": None},
)
def make_rnn_morphologizer(
    nlp: Language,
    name: str,
    model: Model,
    overwrite: bool,
    extend: bool,
    scorer: Callable | None,
    label_smoothing: float,
) -> "RNNMorphologizer":
    """Construct an RNNMorphologizer.

    model (Model[List[Doc], List[Floats2d]]): A model that scores the part of speech and each
        feature, spacy-rnn.FactoredTagger.v1, or their combinations, spacy.Tagger.v2.
    overwrite (bool): Whether to overwrite existing parts of speech and features.
    extend (bool): Whether to keep existing features with other names.
    scorer (Optional[Callable]): The scoring method.
    label_smoothing (float): The probability that is spread over all labels in training: over the
        parts of speech, and over the values of each feature, or over the combinations.
    RETURNS (RNNMorphologizer): The component.
    """
    return RNNMorphologizer(
        nlp.vocab,
        model,
        name,
        overwrite=overwrite,
        extend=extend,
        scorer=scorer,
        label_smoothing=label_smoothing,
    )


class RNNMorphologizer(RNNPipeMixin, Morphologizer):
    """spaCy's morphologizer with a recurrent network: the same settings, labels and scores.

    args, kwargs (Any): The arguments of spaCy's class.
    """

    overwrite = Setting(check_flag, True)
    extend = Setting(check_flag, False)
    label_smoothing = Setting(check_share, 0.0)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._tables: tuple[Any, int, CombinedLabels | FactoredLabels] | None = None
        self.check_settings()

    def count_outputs(self) -> tuple[int, int | None]:
        """RETURNS (Tuple[int, Optional[int]]): How many outputs the labels need, and how many the
        weights have; None if there are no weights, or no labels to predict.
        """
        if not self.labels:
            return 0, None
        return sum(self._get_tables().sizes), self.model.maybe_get_dim("nO")

    def add_label(self, label: str) -> int:
        """Add a label before initialisation.

        label (str): Features with the part of speech as one of them, "Number=Sing|POS=NOUN".
        RETURNS (int): 1, or 0 if there is the label already.
        RAISES (ValueError): If the model is initialised.
        """
        if self.model.has_dim("nO") and label not in self.labels:
            raise ValueError(Errors.E922.format(name=self.name, nO=self.model.get_dim("nO")))
        return super().add_label(label)

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        """Find the labels, and initialise the model.

        get_examples (Callable[[], Iterable[Example]]): Returns the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[Dict[str, Dict]]): Features ("morph") and part of speech ("pos") of each
            label, instead of those in the data.
        RAISES (ValueError): If there are none, or the wrong ones.
        """
        validate_get_examples(get_examples, "RNNMorphologizer.initialize")
        if labels is not None and not (isinstance(labels, dict) and {"morph", "pos"} <= {*labels}):
            raise ValueError(
                f"The labels of component {self.name!r} must be a dictionary with 'morph' and "
                f"'pos', and not {labels!r:.60}. Make a file of them with `spacy init labels`."
            )
        given = None if labels is None else list(labels["morph"])
        source = "token.pos_ and token.morph"
        found = find_labels(self, get_examples, given, _read_labels, source)
        if labels is None:
            analyses = {label: parse_label(label) for label in [*self.labels, *found]}
            labels = {
                "morph": {label: morph for label, (_, morph) in analyses.items()},
                "pos": {label: pos for label, (pos, _) in analyses.items()},
            }
        self.cfg["labels_morph"], self.cfg["labels_pos"] = labels["morph"], labels["pos"]
        output = find_factored(self.model)
        if output is not None:
            set_sizes(output, self._get_tables().sizes)
        super().initialize(get_examples, nlp=nlp, labels=labels)

    def _scores2guesses(self, scores: Sequence[Any]) -> list[Any]:
        ops = self.model.ops
        guesses = self._get_tables().decode(ops.to_numpy(join(ops, scores)))
        return split(guesses, [len(Y) for Y in scores])

    def set_annotations(self, docs: Iterable[Doc], batch_tag_ids: Sequence[Any]) -> None:
        """Set the parts of speech and features that `predict` returned."""
        docs = [docs] if isinstance(docs, Doc) else list(docs)
        guesses = [guess for guess in batch_tag_ids if len(guess)]
        if not guesses:
            return
        labels, places = numpy.unique(numpy.concatenate(guesses), return_inverse=True)
        analyses = [self._get_tables().analyses[label] for label in labels]
        keys: list[int] = []
        # A Doc may be another pipeline's.
        for vocab in {id(doc.vocab): doc.vocab for doc in docs}.values():
            keys = [vocab.morphology.add(morph) for _, morph in analyses]
        table = numpy.asarray([[pos for pos, _ in analyses], keys], dtype="uint64").T
        values: Any = split(table[places], [len(doc) for doc in docs])
        for doc, new in zip(docs, values, strict=True):
            doc.from_array([POS, MORPH], self._merge(doc, new))

    def _merge(self, doc: Doc, new: Any) -> Any:
        """RETURNS (ndarray): The parts of speech and features to set. (tokens, 2)"""
        overwrite, extend = self.overwrite, self.extend
        if overwrite and not extend:
            return new
        old = doc.to_array([POS, MORPH])
        merged = new if overwrite else numpy.where(old, old, new)
        if extend:
            pairs = list(zip(old[:, 1].tolist(), new[:, 1].tolist(), strict=True))
            keys = {pair: _extend(doc.vocab, *pair, overwrite) for pair in set(pairs)}
            merged[:, 1] = [keys[pair] for pair in pairs]
        return merged

    def get_loss(self, examples: Iterable[Example], scores: Any) -> tuple[float, Any]:
        """RETURNS (Tuple[float, List[Floats2d]]): The loss and its gradient as in spaCy's
        morphologizer. With spacy-rnn.FactoredTagger.v1, a missing part of speech or missing
        features teach nothing, but the other still does.
        RAISES (ValueError): If there is an analysis that the labels don't have.
        """
        examples = list(examples)
        validate_examples(examples, "RNNMorphologizer.get_loss")
        tables = self._get_tables()
        known: dict[Gold, Sequence[int]] = {}
        truths = []
        for eg in examples:
            for i, gold in enumerate(_read_gold(eg)):
                if gold not in known:
                    try:
                        known[gold] = tables.encode(eg.reference.vocab, gold)
                    except (KeyError, ValueError) as err:
                        raise ValueError(_unknown_analysis(self, eg, i, gold)) from err
                truths.append(known[gold])
        rows = numpy.asarray(truths, dtype="i").reshape(-1, len(tables.sizes))
        loss, gradient = compute_flat_loss(
            self.model.ops, scores, rows, tables.sizes, self.label_smoothing
        )
        self.check_loss(loss)
        return loss, gradient

    def _get_tables(self) -> CombinedLabels | FactoredLabels:
        labels, n_labels = self.cfg["labels_morph"], len(self.cfg["labels_morph"])
        if self._tables is None or self._tables[0] is not labels or self._tables[1] != n_labels:
            kind = CombinedLabels if find_factored(self.model) is None else FactoredLabels
            self._tables = labels, n_labels, kind(labels, self.cfg["labels_pos"])
        return self._tables[2]


def _read_labels(eg: Example) -> list[str]:
    pairs = {*map(tuple, eg.reference.to_array([POS, MORPH]).tolist())} - {(0, 0)}
    return [make_label(eg.reference.vocab, pair) for pair in sorted(pairs)]


def _read_gold(eg: Example) -> list[Gold]:
    """RETURNS (List[Tuple[int, int]]): The gold annotation of the predicted tokens, missing where
    one of both can't be aligned.
    """
    gold = read_gold(eg, [POS, MORPH])
    if gold is not None:
        return list(zip(*gold.T.tolist(), strict=True))
    pairs = zip(eg.get_aligned("POS"), eg.get_aligned("MORPH"), strict=True)
    return [(0, 0) if None in pair else pair for pair in pairs]


def _extend(vocab: Vocab, old: int, new: int, overwrite: bool) -> int:
    """RETURNS (int): The hash of both features. A feature that both have is overwritten or kept."""
    before, predicted = (Morphology.feats_to_dict(vocab.strings[key]) for key in (old, new))
    return vocab.morphology.add(before | predicted if overwrite else predicted | before)


def _unknown_analysis(pipe: RNNMorphologizer, eg: Example, i: int, gold: Gold) -> str:
    token = eg.predicted[i]
    return (
        f"Component {pipe.name!r} can't learn {make_label(eg.reference.vocab, gold)!r} of token "
        f"{i} ({token.text!r}) in {token.doc.text[:60]!r}: it was not among the "
        f"{len(pipe.labels)} labels at initialisation. Initialise with data (or a labels file, "
        "[initialize.components]) that has all labels."
    )
