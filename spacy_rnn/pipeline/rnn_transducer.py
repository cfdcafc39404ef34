from collections.abc import Iterable
from typing import Any

from spacy.language import Language
from spacy.tokens import Token
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Config, Model

from .rnn_lemmatizer import DEFAULT_CONFIG, DEFAULT_SETTINGS
from .settings import Setting
from .string_tokens import ATTRIBUTES, read_gold
from .transducer import StringTransducer

SCORE = "transducer_acc"


def _check_source(name: str, value: Any) -> None:
    _check_attribute(name, value, list(ATTRIBUTES))


def _check_target(name: str, value: Any) -> None:
    _check_attribute(name, value, ["NORM", "LEMMA"])


def _check_attribute(name: str, value: Any, attributes: list[str]) -> None:
    is_extension = isinstance(value, str) and value[:2] == "_." and value[2:].isidentifier()
    if value not in attributes and not is_extension:
        raise ValueError(
            f"Setting {name} = {value!r} must be one of {', '.join(map(repr, attributes))}, or "
            "'_.NAME' for the extension attribute token._.NAME."
        )


@Language.factory(
    "rnn_transducer",
    default_config={
        "model": Config().from_str(DEFAULT_CONFIG)["model"],
        "source": "TEXT",
        "target": "NORM",
        **DEFAULT_SETTINGS,
    },
    default_score_weights={SCORE: 1.0},
)
def make_rnn_transducer(
    nlp: Language,
    name: str,
    model: Model,
    source: str,
    target: str,
    overwrite: bool,
    use_table: bool,
    use_edits: bool,
    use_decoder: bool,
    min_edit_freq: int,
    edit_threshold: float,
    threshold: float,
    max_chars: int,
    max_growth: int,
    beam_width: int,
    length_penalty: float,
    label_smoothing: float,
    sampling_rate: float,
    decision_key: str | None,
) -> "RNNTransducer":
    """Construct an RNNTransducer. `make_rnn_lemmatizer` describes the other settings.

    model (Model[List[Doc], List[Floats2d]]): A model that writes strings, such as
        spacy-rnn.Seq2Seq.v1.
    source (str): The attribute that is read: "TEXT", "NORM", "LEMMA", or "_.NAME" for the extension
        attribute `token._.NAME`.
    target (str): The attribute that is set, in training data and in prediction: "NORM", "LEMMA" or
        "_.NAME".
    overwrite (bool): Whether to overwrite what is set. The norm of a token's lexeme does not count.
    RETURNS (RNNTransducer): The component.
    """
    settings = {key: value for key, value in locals().items() if key in DEFAULT_SETTINGS}
    return RNNTransducer(nlp.vocab, model, name, source=source, target=target, **settings)


class RNNTransducer(StringTransducer):
    """Write a string for each token from another: normal spelling, a transliteration, or a
    pronunciation. Where nothing is probable enough, the string is copied. See
    `make_rnn_transducer` for the arguments.
    """

    source = Setting(_check_source, "TEXT")
    target = Setting(_check_target, "NORM")

    def __init__(self, vocab: Vocab, model: Model, name: str = "rnn_transducer", **settings: Any):
        super().__init__(vocab, model, name, **settings)
        self.register_extensions()

    def register_extensions(self) -> None:
        """Register the extension attributes that are not there. Called when a component is made or
        restored.
        """
        for attribute in (self.source, self.target):
            if attribute not in ATTRIBUTES and not Token.has_extension(attribute[2:]):
                Token.set_extension(attribute[2:], default=None)

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, float | None]:
        """RETURNS (Dict[str, Optional[float]]): The share of tokens whose string is right, as
        "transducer_acc". None without gold strings.
        """
        n_right = n = 0
        for eg in examples:
            found = self._read_targets(eg.predicted)
            for string, gold in zip(found, read_gold(eg, self._read_targets), strict=True):
                n += bool(gold)
                n_right += bool(gold) and string == gold
        return {SCORE: n_right / n if n else None}
