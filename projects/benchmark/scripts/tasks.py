"""The tasks that systems are compared at."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spacy.tokens import Doc

PROJECT = Path(__file__).resolve().parents[1]
CONFIGS = PROJECT.parents[1] / "configs"
# The projects beside this one, where the data are
UD = PROJECT.parent / "ud_tagger"
NER = PROJECT.parent / "ner"
# The training config of all systems of spaCy's
SPACY = PROJECT / "configs" / "spacy.cfg"


@dataclass(frozen=True)
class Task:
    """A task.

    title (str): Its name in the table and the chart.
    corpora (dict[str, str]): The directories of the corpora on which accuracy is measured, and
        what they are called. Speed is measured on the first.
    texts (tuple[Path, ...]): The files whose texts are read for inference.
    score (str): What of spaCy's scores is the accuracy.
    score_title (str): What it is called.
    ours (Path): Our training config, with one component.
    component (str): The name of spaCy's component in its training config.
    references (dict[str, str]): The systems that others are compared to, and in which words.
    get_labels (Callable[[list[Doc]], list[str]]): Reads all labels of annotated Docs.
    calibration (Path | None): A script that holds the probabilities which our component gives
        against how often it is right.
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


def get_tags(docs: list[Doc]) -> list[str]:
    """Read all tags."""
    return sorted({token.tag_ for doc in docs for token in doc if token.tag_})


def get_entity_labels(docs: list[Doc]) -> list[str]:
    """Read all labels of entities."""
    return sorted({ent.label_ for doc in docs for ent in doc.ents})


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
    ),
}
