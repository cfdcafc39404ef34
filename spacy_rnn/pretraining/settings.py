"""What a config says about pretraining, in its section `[lm_pretraining]`."""

from dataclasses import dataclass, fields
from typing import Any

from ..checks import check_choice, check_count, check_limit, check_rate

OPTIMIZERS = ("adam", "sgd", "rmsprop")
DECAYS = ("none", "linear", "cosine")


@dataclass(frozen=True)
class LMSettings:
    """Settings of `spacy rnn pretrain`.

    train, dev (str): Text files or directories with them. See `text_files`.
    component (Optional[str]): The component to train; None is the only one that has a language
        model.
    weights (Optional[str]): A pipeline that was pretrained before, to go on with its weights on
        these texts. Its vocabulary, the settings of its model, its language and its tokenizer
        replace those of the config. It must not be removed before the run is over.
    vocabulary_size (int): How many words can be predicted, unless there are weights.
    n_rows (int): How many texts are read side by side.
    n_steps (int): How many words are read on each between two updates, which is how far gradients
        go back: truncated backpropagation through time.
    carry_state (bool): Whether a row goes on with the state it had at its last step, rather than
        with zeros.
    max_epochs, max_steps (int): After how many passes over the texts, or updates, to stop. 0 is no
        limit; one of them has to be.
    dropout, embed_dropout, weight_drop (float): Of features, of whole words, and of recurrent
        weights (Merity et al. 2018, "Regularizing and Optimizing LSTM Language Models").
    word_dropout (float): The share of words of which only subwords and shape are seen.
    optimizer (str): "adam", "sgd" or "rmsprop".
    learn_rate (float): Its highest value.
    warmup_steps (int): Over how many updates it rises from 0.
    decay (str): How it falls to 0 until the last step: "linear", "cosine" or "none".
    decay_steps (int): When it has fallen to 0; 0 is at `max_steps`, or, with `max_epochs`, at the
        end of the last.
    L2 (float): Decay of weights, apart from the gradient (AdamW) where the optimizer is "adam".
    grad_clip_norm (float): Scale gradients down where the norm of all of them together is larger.
        0 turns it off.
    mixed_precision (bool): Compute in half precision: bfloat16, which needs no scaling of
        gradients.
    eval_frequency (int): Updates between two evaluations.
    checkpoint_frequency (int): Updates between two checkpoints.
    max_checkpoints (int): How many are kept.
    patience (int): After how many evaluations without a better one to stop. 0 never does.
    dev_words (int): How many words of `dev` to evaluate on; 0 is all.
    n_process (int): How many processes tokenize. 0 does it between updates.
    seed (int): For weights and dropout.
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
        """Check a config's section.

        section (Dict[str, Any]): The section.
        RETURNS (LMSettings): The settings.
        RAISES (ValueError): If one is missing, unknown or out of range.
        """
        names = {field.name for field in fields(cls)}
        unknown, missing = sorted(set(section) - names), {"train", "dev"} - set(section)
        if unknown or missing:
            wrong = [f"{name} is unknown" for name in unknown]
            wrong += [f"{name} is missing" for name in sorted(missing)]
            raise ValueError(f"Section [lm_pretraining]: {', '.join(wrong)}.")
        for name in ("train", "dev"):
            if not section[name]:
                raise ValueError(f"Setting {name} of [lm_pretraining] is empty: name a text file.")
        settings = cls(**section)
        settings._check()
        return settings

    def _check(self) -> None:
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("decay", self.decay, DECAYS)
        check_count("vocabulary_size", self.vocabulary_size, 3)
        for name in ("n_rows", "n_steps", "eval_frequency", "checkpoint_frequency"):
            check_count(name, getattr(self, name), 1)
        check_count("max_checkpoints", self.max_checkpoints, 1)
        for name in ("max_epochs", "max_steps", "warmup_steps", "decay_steps", "patience"):
            check_count(name, getattr(self, name), 0)
        for name in ("dev_words", "n_process", "seed"):
            check_count(name, getattr(self, name), 0)
        for name in ("dropout", "embed_dropout", "weight_drop", "word_dropout"):
            check_rate(name, getattr(self, name))
        for name in ("learn_rate", "L2", "grad_clip_norm"):
            check_limit(name, getattr(self, name))
        if not self.max_epochs and not self.max_steps:
            raise ValueError("Settings max_epochs and max_steps are both 0: set one of them.")
