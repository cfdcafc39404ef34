from collections.abc import Callable
from typing import Any

from spacy.util import registry
from thinc.api import ConfigValidationError


@registry.callbacks("spacy-rnn.pretrain_only.v1")
def pretrain_only() -> Callable[..., Any]:
    """Stop `spacy train` on a config for `spacy rnn pretrain`. As `before_update` of `[training]`,
    spaCy resolves it first.

    RAISES (ConfigValidationError): Always. `spacy train` shows it without a traceback.
    """
    raise ConfigValidationError(
        title="Can't train with a config for pretraining",
        desc="This config pretrains a language model on raw text. Use the command `spacy rnn "
        "pretrain CONFIG OUTPUT --paths.train TEXTS --paths.dev TEXTS`.",
    )
