from collections.abc import Callable
from typing import Any

from spacy.language import Language
from spacy.pipeline.lemmatizer import lemmatizer_score
from spacy.vocab import Vocab
from thinc.api import Config, Model

from .transducer import StringTransducer

DEFAULT_CONFIG = """
[model]
@architectures = "spacy-rnn.Seq2Seq.v1"

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
DEFAULT_SETTINGS: dict[str, Any] = {
    "overwrite": False,
    "use_table": True,
    "use_edits": True,
    "use_decoder": True,
    "min_edit_freq": 3,
    "edit_threshold": 0.95,
    "threshold": 0.05,
    "max_chars": 40,
    "max_growth": 10,
    "beam_width": 1,
    "length_penalty": 0.0,
    "label_smoothing": 0.0,
    "sampling_rate": 0.0,
    "decision_key": None,
}


@Language.factory(
    "rnn_lemmatizer",
    assigns=["token.lemma"],
    default_config={
        "model": Config().from_str(DEFAULT_CONFIG)["model"],
        **DEFAULT_SETTINGS,
        "scorer": {"@scorers": "spacy.lemmatizer_scorer.v1"},
    },
    default_score_weights={"lemma_acc": 1.0},
)
def make_rnn_lemmatizer(
    nlp: Language,
    name: str,
    model: Model,
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
    scorer: Callable | None,
) -> "RNNLemmatizer":
    """Construct an RNNLemmatizer.

    model (Model[List[Doc], List[Floats2d]]): A model that writes strings, such as
        spacy-rnn.Seq2Seq.v1.
    overwrite (bool): Whether to overwrite existing lemmas.
    use_table (bool): Whether a form that has one lemma in the training data gets it without the
        model: one lemma with its part of speech, with its part of speech and features, or, where a
        Doc has no parts of speech, at all. Without it, lookups are not used either.
    use_edits (bool): Whether to choose among edit scripts.
    use_decoder (bool): Whether to decode forms whose best edit script is not sure.
    min_edit_freq (int): How often an edit script must occur in the training data to be a label.
    edit_threshold (float): Edit scripts that are less probable leave the form to the decoder. The
        more probable result of both is taken.
    threshold (float): If the best lemma is less probable, the form is lower-cased.
    max_chars (int): The length in characters of the longest form that is decoded.
    max_growth (int): How many characters a lemma may be longer than its form.
    beam_width (int): How many hypotheses the decoder follows. 1 is greedy.
    length_penalty (float): The power of the length by which the decoder divides the log-probability
        of hypotheses. 0 compares probabilities.
    label_smoothing (float): The probability that is spread over all edit scripts, and over all
        characters, in training.
    sampling_rate (float): How often the decoder reads what it wrote itself in training, in place of
        the lemma's character (scheduled sampling, Bengio et al. 2015).
    decision_key (Optional[str]): A key in `doc.user_data` for what wrote each lemma: "table",
        "lookups", "edit", "decoder" or "fallback".
    scorer (Optional[Callable]): The scoring method.
    RETURNS (RNNLemmatizer): The component.
    """
    settings = {key: value for key, value in locals().items() if key in DEFAULT_SETTINGS}
    return RNNLemmatizer(nlp.vocab, model, name, scorer=scorer, **settings)


class RNNLemmatizer(StringTransducer):
    """Lemmatize tokens: by a table of the training data, by edit scripts in context, and by an
    encoder and a decoder with attention over characters. A lemma has only characters of its form
    and of the training data's lemmas. See `make_rnn_lemmatizer` for the arguments.
    """

    source, target = "TEXT", "LEMMA"

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str = "rnn_lemmatizer",
        *,
        scorer: Callable | None = lemmatizer_score,
        **settings: Any,
    ):
        super().__init__(vocab, model, name, **settings)
        self.scorer = scorer

    def get_fallback(self, string: str) -> str:
        """RETURNS (str): The form in lower case."""
        return string.lower()
