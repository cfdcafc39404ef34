"""The tasks that systems are compared at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.tokens import Doc

PROJECT = Path(__file__).resolve().parents[1]
CONFIGS = PROJECT.parents[1] / "configs"
# The projects beside this one, where the data are
UD = PROJECT.parent / "ud_tagger"
NER = PROJECT.parent / "ner"
# The language model that this one pretrained, and where those adapted to each corpus are
BILM_PROJECT = PROJECT.parent / "bilm"
BILM = BILM_PROJECT / "training" / "lm" / "model-best"
ADAPTED = BILM_PROJECT / "training" / "adapted"
# What the data were converted to
CORPUS = PROJECT / "corpus"
# The training config of all systems of spaCy's
SPACY = PROJECT / "configs" / "spacy.cfg"


@dataclass(frozen=True)
class Task:
    """A task.

    title (str): Its name in the table and the chart.
    corpora (dict[str, str]): The directories of the corpora on which accuracy is measured, and
        what they are called. Speed is measured on the first.
    texts (tuple[Path, ...]): The files whose texts are read for inference, with comments that have
        them or in spaCy's format. None if speed is not measured.
    score (str): What of spaCy's scores is the accuracy.
    score_title (str): What it is called.
    ours (Path): Our training config, with one component.
    component (str): The name of spaCy's component in its training config.
    references (dict[str, str]): The systems that others are compared to, and in which words.
    get_labels (Callable[[list[Doc]], list[str]]): Reads all labels of annotated Docs.
    calibration (Path | None): A script that holds the probabilities which our component gives
        against how often it is right.
    folds (dict[str, int]): The corpora for cross-validation, and into how many folds they are
        divided. Training number n is on fold n, with seed n.
    changes (dict[str, dict[str, Any]]): What is changed in our training config for a corpus.
    chosen_on_dev (str): A setting that `spacy find-threshold` chooses on dev for the components
        that have it.
    note (str): What else there is to say about the accuracies.
    """

    title: str
    corpora: dict[str, str]
    texts: tuple[Path, ...]
    score: str
    score_title: str
    ours: Path
    component: str
    references: dict[str, str]
    get_labels: Callable[[list[Doc]], list[str]]
    calibration: Path | None = None
    folds: dict[str, int] = field(default_factory=dict)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    chosen_on_dev: str = ""
    note: str = ""

    def get_directory(self, corpora: Path, corpus: str, number: int) -> Path:
        """Get the directory of the data of a training.

        corpora (Path): The directory of all corpora.
        corpus (str): The name of the corpus.
        number (int): The number of the training.
        RETURNS (Path): The directory with train.spacy, dev.spacy and test.spacy.
        """
        directory = corpora / corpus
        return directory / f"fold_{number}" if corpus in self.folds else directory

    def count_trainings(self, corpus: str, seeds: int) -> int:
        """Get how many trainings the accuracy of a system comes from.

        corpus (str): The name of the corpus.
        seeds (int): How many seeds the system has.
        RETURNS (int): As many, or a system with several has all folds where there are folds.
        """
        return self.folds.get(corpus, seeds) if seeds > 1 else seeds


def get_tags(docs: list[Doc]) -> list[str]:
    """Read all tags."""
    return sorted({token.tag_ for doc in docs for token in doc if token.tag_})


def get_entity_labels(docs: list[Doc]) -> list[str]:
    """Read all labels of entities."""
    return sorted({ent.label_ for doc in docs for ent in doc.ents})


def get_categories(docs: list[Doc]) -> list[str]:
    """Read all labels of texts."""
    return sorted({label for doc in docs for label in doc.cats})


TASKS = {
    "tagger": Task(
        title="Tagger",
        corpora={"ud_en_ewt": "UD English-EWT"},
        texts=tuple(UD / "assets" / "ud_en_ewt" / f"{part}.conllu" for part in ("dev", "test")),
        score="tag_acc",
        score_title="XPOS",
        ours=CONFIGS / "tagger.cfg",
        component="tagger",
        references={"spacy-cnn": "HashEmbedCNN", "spacy-torch-bilstm-2x128": "TorchBiLSTM 2x128"},
        get_labels=get_tags,
    ),
    "ner": Task(
        title="Named entities",
        corpora={"uner_en_ewt": "UNER English-EWT", "wnut17": "WNUT17"},
        texts=tuple(NER / "assets" / "uner_en_ewt" / f"{part}.iob2" for part in ("dev", "test")),
        score="ents_f",
        score_title="F1",
        ours=CONFIGS / "ner.cfg",
        component="ner",
        references={"spacy-ner-cnn": "HashEmbedCNN", "spacy-ner-torch-bilstm": "TorchBiLSTM 2x128"},
        get_labels=get_entity_labels,
        calibration=NER / "scripts" / "calibration.py",
        chosen_on_dev="threshold",
        note="The threshold of each of our trainings is what `spacy find-threshold` picks on dev. "
        "Those with an adapted bilm are older: texts as they are, Thinc's average of the weights, "
        "and the most probable reading with a bias to entities, which was chosen on dev too.",
    ),
    "textcat": Task(
        title="Texts with one label each",
        corpora={"banking77": "Banking77", "mr": "MR", "movie_reviews": "Movie reviews"},
        texts=tuple(CORPUS / "banking77" / f"{part}.spacy" for part in ("dev", "test")),
        # Of labels that exclude each other, this is the accuracy.
        score="cats_micro_f",
        score_title="Accuracy",
        ours=CONFIGS / "textcat.cfg",
        component="textcat",
        references={
            "spacy-textcat-ensemble": "TextCatEnsemble",
            "spacy-textcat-bow": "TextCatBOW",
            "ours-textcat-torch-bilstm": "ours with TorchBiLSTM",
        },
        get_labels=get_categories,
        folds={"mr": 5, "movie_reviews": 5},
        changes={
            # With two labels there is room for all pairs of words.
            "mr": {"components.rnn_textcat.model.linear_model.length": 262144},
            # A batch of 1,000 words would be one or two reviews.
            "movie_reviews": {"training.batcher.size": 8000},
        },
        note="MR and movie reviews are cross-validation: a training is a fold, and differences are "
        "fold by fold. For MR our bag of words has 262,144 rows, and ours reads movie reviews in "
        "batches of 8,000 words.",
    ),
    "textcat_multilabel": Task(
        title="Texts with several labels",
        corpora={"goemotions": "GoEmotions"},
        texts=(),
        score="cats_macro_f",
        score_title="Macro-F1",
        ours=CONFIGS / "textcat_multilabel.cfg",
        component="textcat_multilabel",
        references={"spacy-textcat-multilabel-ensemble": "TextCatEnsemble"},
        get_labels=get_categories,
        chosen_on_dev="threshold",
        note="The threshold of each training is what `spacy find-threshold` picks on dev.",
    ),
}
