from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Any

import numpy
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.pipeline.dep_parser import parser_score
from spacy.tokens import Doc, Token
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model

from ..checks import check_count
from ..layers.biaffine import BiaffineStates, extend_labels, get_widths
from ..layers.param_shim import get_param_shim
from ..layers.ragged import join, split
from ..modules.parser.biaffine import compute_loss, find_head_rows
from ..modules.parser.predict import predict_trees
from ..modules.parser.sentences import find_starts
from .extensions import Extension
from .labels import LabelList, find_labels
from .mixin import RNNPipeMixin
from .parses import (
    ROOT,
    SPACE,
    HeadProbability,
    Parse,
    Words,
    count_tokens,
    read_labels,
    read_truth,
    set_parse,
)
from .settings import Setting

DEFAULT_CONFIG = """
[model]
@architectures = "spacy-rnn.BiaffineParser.v1"
arc_width = 256
label_width = 64

[model.tok2vec]
@architectures = "spacy.Tok2Vec.v2"

[model.tok2vec.embed]
@architectures = "spacy-rnn.LexemeEmbed.v1"
width = null

[model.tok2vec.encode]
@architectures = "spacy-rnn.RNNEncoder.v1"
width = 384
depth = 3
cell = "lstm"
"""


@Language.factory(
    "rnn_parser",
    assigns=[
        "token.dep",
        "token.head",
        "token.is_sent_start",
        "doc.sents",
        "token._.head_probability",
    ],
    default_config={
        "model": Config().from_str(DEFAULT_CONFIG)["model"],
        "max_length": 4000,
        "extension_prefix": "",
        "scorer": {"@scorers": "spacy.parser_scorer.v1"},
    },
    default_score_weights={
        "dep_uas": 0.5,
        "dep_las": 0.5,
        "dep_las_per_type": None,
        "sents_p": None,
        "sents_r": None,
        "sents_f": 0.0,
    },
)
def make_rnn_parser(
    nlp: Language,
    name: str,
    model: Model,
    max_length: int,
    extension_prefix: str,
    scorer: Callable | None,
) -> "RNNParser":
    """Construct an RNNParser.

    model (Model[List[Doc], BiaffineStates]): A model that scores arcs, such as
        spacy-rnn.BiaffineParser.v1.
    max_length (int): The most tokens in a sentence. A longer one is divided where a boundary is
        most probable. Memory grows with the square of the longest sentence: 0.7 GB for 4,000
        tokens, in each thread.
    extension_prefix (str): Goes before the name of the extension attribute
        `token._.head_probability`.
    scorer (Optional[Callable]): The scoring method.
    RETURNS (RNNParser): The component.
    """
    settings = {"max_length": max_length, "extension_prefix": extension_prefix}
    return RNNParser(nlp.vocab, model, name, scorer=scorer, **settings)  # type: ignore[arg-type]


class RNNParser(RNNPipeMixin, LabelList, TrainablePipe):
    """Parse dependencies with a recurrent network and biaffine attention: the most probable tree of
    each sentence, projective or not. The probability of a token's arc to its head is in
    `token._.head_probability`, a float. Sentence boundaries that a Doc has are kept; others are
    predicted. See `make_rnn_parser` for the arguments.
    """

    max_length = Setting(partial(check_count, least=1), 4000)

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str = "rnn_parser",
        *,
        extension_prefix: str = "",
        scorer: Callable | None = parser_score,
        **settings: Any,
    ):
        super().__init__(vocab, model, name, labels=[])
        self.scorer = scorer
        self.extension_prefix = extension_prefix
        self.check_settings(**settings)
        self.register_extensions()

    @property
    def extensions(self) -> list[Extension]:
        """RETURNS (List[Extension]): The probability of a token's arc to its head."""
        name = f"{self.extension_prefix}head_probability"
        return [Extension(Token, name, HeadProbability(name))]

    def count_outputs(self) -> tuple[int, int | None]:
        """RETURNS (Tuple[int, Optional[int]]): The number of labels, and that of the weights."""
        output = self.model.get_ref("output")
        return len(self.labels), output.get_dim("nO") if output.has_param("W") else None

    def add_label(self, label: str) -> int:
        """Add a label. A trained model keeps the scores of its other labels. "ROOT" needs none.

        RETURNS (int): 1 if it was added, 0 if it was there.
        """
        return 0 if label == ROOT else super().add_label(label)

    def extend_outputs(self) -> None:
        """Give a trained model outputs for labels that were added."""
        output = self.model.get_ref("output")
        if output.has_param("W"):
            extended = extend_labels(output, len(self.labels))
            self.model.replace_node(output, extended)
            self.model.set_ref("output", extended)

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Find the labels, and initialise the model.

        get_examples (Callable[[], Iterable[Example]]): Returns the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): The labels, instead of those in the data.
        RAISES (ValueError): If there are none, or the wrong ones.
        """
        validate_get_examples(get_examples, "RNNParser.initialize")
        found = find_labels(self, get_examples, labels, read_labels, "token.dep_")
        for label in sorted(found) if labels is None else found:
            self.add_label(label)
        self.vocab.strings.add(ROOT)
        self.model.get_ref("output").set_dim("nO", len(self.labels), force=True)
        self.model.initialize(X=[eg.x for eg in islice(get_examples(), 10)])

    def predict(self, docs: Iterable[Doc]) -> list[Parse]:
        """Parse a batch.

        docs (Iterable[Doc]): The Docs.
        RETURNS (List[Parse]): The parse of each Doc.
        """
        docs = list(docs)
        self.require_tok2vec(docs)
        if not any(map(len, docs)):
            return [Parse.make_empty() for _ in docs]
        output = self.model.predict(docs)
        layer = self.model.get_ref("output")
        ops, widths = self.model.ops, get_widths(layer)
        words = Words(docs)
        X = ops.to_numpy(join(ops, output.states))[words.tokens]
        starts = find_starts(X[:, -1], words.starts, self.max_length)
        lengths = count_tokens(starts)
        shim = get_param_shim(layer)
        weights, int8 = shim.get_weights(layer), shim.int8
        trees, labels, probabilities = predict_trees(X, weights, widths, lengths, int8=int8)
        return words.make_parses(starts, find_head_rows(lengths, trees), labels, probabilities)

    def set_annotations(self, docs: Iterable[Doc], parses: list[Parse]) -> None:
        """Set the heads, labels and sentence starts that `predict` returned, and store the
        probability of each arc.
        """
        (probability,) = self.extensions
        # A Doc may be another pipeline's.
        tables: dict[int, numpy.ndarray] = {}
        for doc, parse in zip(docs, parses, strict=True):
            if id(doc.vocab) not in tables:
                hashes = map(doc.vocab.strings.add, (*self.labels, SPACE, ROOT))
                tables[id(doc.vocab)] = numpy.asarray([*hashes], dtype="uint64")
            set_parse(doc, parse, tables[id(doc.vocab)], probability)

    def get_loss(
        self, examples: Iterable[Example], scores: BiaffineStates
    ) -> tuple[float, BiaffineStates]:
        """RETURNS (Tuple[float, BiaffineStates]): The negative log-likelihood of the annotation,
        and its gradient.
        RAISES (ValueError): If a label is unknown, or the loss is not a number.
        """
        examples = list(examples)
        validate_examples(examples, "RNNParser.get_loss")
        ops, widths = self.model.ops, get_widths(self.model.get_ref("output"))
        words = Words([eg.predicted for eg in examples])
        tokens = ops.xp.asarray(words.tokens)
        states: Any = join(ops, scores.states)
        X = states[tokens]
        numbers = {self.vocab.strings.add(label): i for i, label in enumerate(self.labels)}
        try:
            boundaries = ops.to_numpy(X[:, -1])
            truth = read_truth(examples, words, boundaries, numbers, self.max_length)
        except KeyError as err:
            raise ValueError(
                f"Component {self.name!r} can't learn the label "
                f"{self.vocab.strings[err.args[0]]!r}: it was not among the {len(self.labels)} "
                "labels at initialisation. Initialise with data (or a labels file, "
                "[initialize.components]) that has all labels."
            ) from err
        loss, dX, d_params = compute_loss(ops.xp, X, scores.params, widths, truth)
        self.check_loss(loss)
        gradient = ops.xp.zeros_like(states)
        gradient[tokens] = dX
        return loss, BiaffineStates(split(gradient, words.n_tokens), d_params)
