"""The systems that are compared: for each name, what is changed in the config of the model."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models import (
    use_attention,
    use_bilstm,
    use_bilstm_in_textcat,
    use_bow,
    use_encoder,
    use_reduce,
)
from spacy.util import load_config
from tasks import ADAPTED, BILM, BILM_PROJECT, TASKS, Task
from wasabi import msg

# Half of a language model's layers are left out, so that what is above them learns for longer.
LONGER = {"max_steps": 8000, "patience": 2000, "eval_frequency": 200}


@dataclass(frozen=True)
class System:
    """A system that is compared.

    title (str): Its name in the table and the chart. In "2x128", 128 is a direction's units.
    task_name (str): The name of its task.
    is_ours (bool): Whether it is our component, and not spaCy's.
    model (dict[str, Any]): What is changed in the config's [model], block by block; a block with
        other `@architectures` replaces the whole one.
    seeds (int): How many trainings its accuracy comes from.
    timed (bool): Whether its speed is measured.
    bilm (dict[str, Any] | None): How its component listens to the language model that the project
        `bilm` pretrained: the arguments of `add_bilm`. None if it does not.
    adapted (bool): Whether that is the one which was pretrained further for the corpus.
    training (dict[str, Any]): What is changed in the config's [training].
    reader (dict[str, Any]): What is changed in its [corpora.train].
    """

    title: str
    task_name: str
    is_ours: bool
    model: dict[str, Any] = field(default_factory=dict)
    seeds: int = 1
    timed: bool = True
    bilm: dict[str, Any] | None = None
    adapted: bool = False
    training: dict[str, Any] = field(default_factory=dict)
    reader: dict[str, Any] = field(default_factory=dict)

    @property
    def has_bilm(self) -> bool:
        return self.bilm is not None

    @property
    def task(self) -> Task:
        return TASKS[self.task_name]


# One network of 128 units
SINGLE = {"members": 1, **use_encoder("lstm", 1, width=256)}

# Self-attention learns more slowly, and overfits less. Both numbers were chosen on dev.
ATTENTION_TRAINING = {"dropout": 0.2, "optimizer": {"learn_rate": 0.001}}

# What makes our recogniser read a share of the texts in lower case
LOWER_CASE = load_config(TASKS["ner"].ours)["corpora"]["train"]["augmenter"]

SYSTEMS = {
    "ours-lstm-2x128": System(
        "spacy-rnn LSTM 2x128", "tagger", True, use_encoder("lstm", 2), seeds=3
    ),
    "ours-lstm-1x128": System("spacy-rnn LSTM 1x128", "tagger", True, use_encoder("lstm", 1)),
    "ours-gru-2x128": System("spacy-rnn GRU 2x128", "tagger", True, use_encoder("gru", 2)),
    "ours-gru-1x128": System("spacy-rnn GRU 1x128", "tagger", True, use_encoder("gru", 1)),
    "ours-lstm-2x128-bilm": System(
        "LSTM 2x128 with bilm",
        "tagger",
        True,
        use_encoder("lstm", 2),
        seeds=3,
        bilm={"width": 128},
    ),
    "ours-attention-2x256": System(
        "self-attention 2x256",
        "tagger",
        True,
        use_attention(2, 256, hidden_width=288),
        training=ATTENTION_TRAINING,
    ),
    "spacy-torch-bilstm-2x128": System(
        "TorchBiLSTMEncoder 2x128", "tagger", False, use_bilstm(256)
    ),
    "spacy-torch-bilstm-64": System(
        "TorchBiLSTMEncoder 2x64", "tagger", False, use_bilstm(128), timed=False
    ),
    "spacy-cnn": System("HashEmbedCNN", "tagger", False, seeds=3),
    "ours-ner": System("spacy-rnn, two BiLSTM-CRF 1x256", "ner", True, seeds=3),
    "ours-ner-1x128": System("spacy-rnn, one BiLSTM-CRF 1x128", "ner", True, SINGLE, seeds=3),
    "ours-ner-1x128-no-lm": System(
        "BiLSTM-CRF 1x128 without language modelling",
        "ner",
        True,
        {"members": 1, "tok2vec": {"lm_weight": 0.0, **SINGLE["tok2vec"]}},
        timed=False,
    ),
    "ours-ner-attention": System(
        "self-attention 2x192",
        "ner",
        True,
        {"members": 1, **use_attention(2, 192, hidden_width=192)},
        training=ATTENTION_TRAINING,
    ),
    "ours-ner-bilm": System(
        "BiLSTM-CRF 1x128 with bilm",
        "ner",
        True,
        SINGLE,
        seeds=3,
        bilm={"alone": True},
        training=LONGER,
    ),
    "ours-ner-bilm-adapted": System(
        "BiLSTM-CRF 1x128 with adapted bilm",
        "ner",
        True,
        SINGLE,
        seeds=3,
        timed=False,
        bilm={"alone": True},
        adapted=True,
        training=LONGER,
    ),
    "spacy-ner-torch-bilstm": System(
        "TorchBiLSTMEncoder 2x128", "ner", False, use_bilstm(256), seeds=3
    ),
    "spacy-ner-cnn": System("HashEmbedCNN", "ner", False, seeds=3),
    "spacy-ner-cnn-lower": System(
        "HashEmbedCNN, texts in lower case too",
        "ner",
        False,
        timed=False,
        reader={"augmenter": LOWER_CASE},
    ),
    "ours-textcat": System("spacy-rnn GRU 1x128", "textcat", True, seeds=3),
    "ours-textcat-torch-bilstm": System(
        "the same with TorchBiLSTMEncoder 1x128",
        "textcat",
        True,
        use_bilstm_in_textcat(256),
        seeds=0,
    ),
    "spacy-textcat-ensemble": System("TextCatEnsemble.v2", "textcat", False, seeds=3),
    "spacy-textcat-reduce": System(
        "TextCatReduce.v1", "textcat", False, use_reduce(exclusive=True)
    ),
    "spacy-textcat-bow": System(
        "TextCatBOW.v3", "textcat", False, use_bow(exclusive=True), seeds=3
    ),
    "ours-textcat-multilabel": System(
        "spacy-rnn GRU 1x128", "textcat_multilabel", True, seeds=3, timed=False
    ),
    "spacy-textcat-multilabel-ensemble": System(
        "TextCatEnsemble.v2", "textcat_multilabel", False, seeds=3, timed=False
    ),
    "spacy-textcat-multilabel-reduce": System(
        "TextCatReduce.v1", "textcat_multilabel", False, use_reduce(exclusive=False), timed=False
    ),
    "spacy-textcat-multilabel-bow": System(
        "TextCatBOW.v3", "textcat_multilabel", False, use_bow(exclusive=False), timed=False
    ),
}


def select_available(names: Iterable[str], corpora: Collection[str] = ()) -> list[str]:
    """Leave out the systems whose language model was not pretrained yet, and say so.

    names (Iterable[str]): Names in SYSTEMS.
    corpora (Collection[str]): The corpora they are for; all of their task if empty.
    RETURNS (list[str]): Those that can be run.
    """
    names = list(names)
    left = [
        name
        for name in names
        if SYSTEMS[name].has_bilm
        and not all(
            get_bilm(name, corpus).exists()
            for corpus in SYSTEMS[name].task.corpora
            if not corpora or corpus in corpora
        )
    ]
    if left:
        msg.warn(f"Left out: {', '.join(left)}", f"Pretrain first, in {BILM_PROJECT}.")
    return [name for name in names if name not in left]


def get_bilm(name: str, corpus: str) -> Path:
    """Get the pretrained language model of a system that has one.

    name (str): A name in SYSTEMS.
    corpus (str): The corpus that the system is trained on.
    RETURNS (Path): The directory of its pipeline.
    """
    return ADAPTED / corpus / "model-best" if SYSTEMS[name].adapted else BILM


def get_systems(task_name: str, *, timed: bool = False) -> list[str]:
    """Get the names of a task's systems.

    task_name (str): The name of the task.
    timed (bool): Whether to leave out those whose speed is not measured.
    RETURNS (list[str]): The names.
    """
    return [
        name
        for name, system in SYSTEMS.items()
        if system.task_name == task_name and (system.timed or not timed)
    ]
