"""The section `[lm_pretraining]` of a config."""

from dataclasses import dataclass, fields
from typing import Any

from ..checks import check_choice, check_count, check_flag, check_limit, check_rate

OPTIMIZERS = ("adam", "sgd", "rmsprop")
DECAYS = ("none", "linear", "cosine")
# The lowest values of whole numbers that can't be 0.
_LEAST = {
    "vocabulary_size": 3,
    **dict.fromkeys(("n_rows", "n_steps", "eval_frequency"), 1),
    **dict.fromkeys(("checkpoint_frequency", "max_checkpoints"), 1),
}


@dataclass(frozen=True)
class LMSettings:
    """Settings of `spacy rnn pretrain`.

    train, dev (str): Text files, or directories of text files. See `find_files`.
    component (Optional[str]): The component to train. None if only one is a language model.
    weights (Optional[str]): A pretrained pipeline, to continue with its weights. Its vocabulary,
        the settings of its model, its language and its tokenizer replace the ones in the config.
        Keep it until the run is over.
    vocabulary_size (int): The number of words that can be predicted, unless there are weights.
    n_rows (int): The number of texts in a batch, read side by side.
    n_steps (int): The number of words per row and update: the length of truncated backpropagation
        through time.
    carry_state (bool): Whether a row continues with its state from the last update, or with zeros.
    max_epochs, max_steps (int): When to stop. 0 is no limit, for one of them.
    dropout, embed_dropout, weight_drop (float): Dropout of features, of whole words, and of
        recurrent weights (Merity et al. 2018, "Regularizing and Optimizing LSTM Language Models").
    word_dropout (float): The share of words without an embedding of their own, only with subwords
        and shape.
    optimizer (str): "adam", "sgd" or "rmsprop".
    learn_rate (float): The highest learning rate.
    warmup_steps (int): The number of updates in which the rate rises from 0.
    decay (str): How the rate falls to 0: "linear", "cosine" or "none".
    decay_steps (int): The update at which it is 0. 0 is the last update.
    L2 (float): Weight decay. With "adam" it is decoupled from the gradient (AdamW).
    grad_clip_norm (float): Clip the norm of all gradients together. 0 turns it off.
    mixed_precision (bool): Compute in bfloat16.
    eval_frequency (int): The number of updates between evaluations.
    checkpoint_frequency (int): The number of updates between checkpoints.
    max_checkpoints (int): The number of checkpoints to keep.
    patience (int): Stop after this many evaluations without improvement. 0 turns it off.
    dev_words (int): Evaluate on this many words of `dev`. 0 is all.
    n_process (int): The number of processes that tokenize. 0 tokenizes between updates.
    seed (int): The seed of weights and dropout.
    """

    train: str
    dev: str
    component: str | None = None
    weights: str | None = None
    vocabulary_size: int = 50_000
    n_rows: int = 64
    n_steps: int = 64
    carry_state: bool = True
    max_epochs: int = 1
    max_steps: int = 0
    dropout: float = 0.1
    embed_dropout: float = 0.0
    weight_drop: float = 0.0
    word_dropout: float = 0.1
    optimizer: str = "adam"
    learn_rate: float = 0.002
    warmup_steps: int = 200
    decay: str = "cosine"
    decay_steps: int = 0
    L2: float = 0.0
    grad_clip_norm: float = 1.0
    mixed_precision: bool = False
    eval_frequency: int = 1000
    checkpoint_frequency: int = 500
    max_checkpoints: int = 2
    patience: int = 0
    dev_words: int = 200_000
    n_process: int = 1
    seed: int = 0

    @classmethod
    def from_config(cls, section: dict[str, Any]) -> "LMSettings":
        """RETURNS (LMSettings): The settings of a config's section.
        RAISES (ValueError): If one is missing, unknown or out of range.
        """
        names = [field.name for field in fields(cls)]
        wrong = [f"{name} is unknown" for name in section if name not in names]
        wrong += [
            f"{name} is missing: name texts" for name in ("train", "dev") if not section.get(name)
        ]
        if wrong:
            raise ValueError(f"Section [lm_pretraining]: {', '.join(wrong)}.")
        return cls(**section)

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("decay", self.decay, DECAYS)
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if field.type is bool:
                check_flag(name, value)
            elif field.type is int:
                check_count(name, value, _LEAST.get(name, 0))
            elif field.type is float:
                check = check_rate if name.endswith(("dropout", "_drop")) else check_limit
                check(name, value)
        if not self.max_epochs and not self.max_steps:
            raise ValueError("Settings max_epochs and max_steps are both 0: set one of them.")
