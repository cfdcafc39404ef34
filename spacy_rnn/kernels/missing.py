"""A warning where the kernels were not built."""

import os
import warnings
from functools import cache
from importlib.util import find_spec


@cache
def warn_if_missing() -> None:
    """Warn, once in a process, that prediction on a CPU is slow because no kernels were built. Does
    not warn if SPACY_RNN_KERNELS=none turned them off, or if the processor cannot run them.
    """
    is_off = os.environ.get("SPACY_RNN_KERNELS") == "none"
    if not is_off and find_spec(f"{__package__}._kernels") is None:
        warnings.warn(
            "spacy-rnn was installed without its compiled kernels, so prediction on a CPU takes up "
            "to twice as long. Run `spacy rnn info` to see what to do, or set the environment "
            "variable SPACY_RNN_KERNELS=none to hide this warning.",
            stacklevel=2,
        )
