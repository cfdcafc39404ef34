"""The systems that runtime.py measures: what an engineer would deploy."""

from dataclasses import dataclass
from pathlib import Path

from tasks import PROJECT

MODELS = PROJECT / "training" / "runtime"


@dataclass(frozen=True)
class Runtime:
    """A system as it is deployed.

    title (str): Its name in the table.
    task_name (str): The name of its task.
    environment (str): The name of the virtual environment that it runs in.
    model (str): The name of its model: in systems.SYSTEMS, or one of Flair's or Stanza's.
    library (str): What loads the model: "spacy", "flair" or "stanza".
    """

    title: str
    task_name: str
    environment: str
    model: str
    library: str = "spacy"


SYSTEMS = {
    "ours-tagger": Runtime("rnn_tagger 2x128", "tagger", "runtime", "ours-lstm-2x128"),
    "ours-tagger-torch": Runtime(
        "rnn_tagger 2x128, torch installed", "tagger", "torch", "ours-lstm-2x128"
    ),
    "spacy-tagger": Runtime("spaCy's tagger, HashEmbedCNN", "tagger", "spacy", "spacy-cnn"),
    "flair-tagger": Runtime("Flair, BiLSTM 2x128", "tagger", "flair", "flair-tagger", "flair"),
    "stanza-tagger": Runtime("Stanza, BiLSTM 2x128", "tagger", "stanza", "stanza-tagger", "stanza"),
    "ours-ner": Runtime("rnn_ner, two BiLSTM-CRF 1x256", "ner", "runtime", "ours-ner"),
    "ours-ner-torch": Runtime(
        "rnn_ner, two BiLSTM-CRF 1x256, torch installed", "ner", "torch", "ours-ner"
    ),
    "spacy-ner": Runtime("spaCy's ner, HashEmbedCNN", "ner", "spacy", "spacy-ner-cnn"),
    "flair-ner": Runtime("Flair, BiLSTM-CRF 1x256", "ner", "flair", "flair-ner", "flair"),
    "stanza-ner": Runtime("Stanza, BiLSTM-CRF 1x256", "ner", "stanza", "stanza-ner", "stanza"),
    "ours-textcat": Runtime("rnn_textcat, GRU 1x128", "textcat", "runtime", "ours-textcat"),
    "ours-textcat-torch": Runtime(
        "rnn_textcat, GRU 1x128, torch installed", "textcat", "torch", "ours-textcat"
    ),
    "spacy-textcat": Runtime(
        "spaCy's textcat, TextCatEnsemble", "textcat", "spacy", "spacy-textcat-ensemble"
    ),
}


def get_model(name: str) -> Path:
    """Get the path of a model that runtime_models.py or a script for its library trained.

    name (str): The `model` of a system.
    RETURNS (Path): The file or directory.
    """
    return MODELS / name / "model-best"


def get_python(environments: Path, name: str) -> Path:
    """Get the interpreter of a virtual environment.

    environments (Path): The directory of all environments.
    name (str): The `environment` of a system.
    RETURNS (Path): The interpreter.
    """
    return environments / name / "bin" / "python"
