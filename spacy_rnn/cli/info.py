import os
import platform

import spacy
import thinc
from thinc.compat import has_torch
from wasabi import msg

from ..about import __version__
from ..kernels import HAS_INT8, INSTRUCTIONS
from ..modules.backend import has_bfloat16
from ..modules.workers import count_threads


def info_cli() -> None:
    """Print the versions and the devices that matter to spacy-rnn, to paste into an issue."""
    torch_version, gpu = "not installed", "none"
    if has_torch:
        import torch

        torch_version = torch.__version__
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    kernels = [INSTRUCTIONS or "none"]
    kernels += ["int8"] if HAS_INT8 else []
    kernels += ["bfloat16"] if has_bfloat16() else []
    msg.table(
        {
            "spacy-rnn": __version__,
            "spaCy": spacy.__version__,
            "Thinc": thinc.__version__,
            "torch": torch_version,
            "Python": platform.python_version(),
            "Platform": platform.platform(),
            "Compiled kernels": ", ".join(kernels),
            "Threads": count_threads(),
            "GPU": gpu,
        },
        title="Info about spacy-rnn",
    )
    if INSTRUCTIONS is None:
        is_off = os.environ.get("SPACY_RNN_KERNELS") == "none"
        msg.warn(
            "No compiled kernels: on a CPU, prediction takes up to twice as long",
            "Unset the environment variable SPACY_RNN_KERNELS."
            if is_off
            else "Install GCC or Clang, then install spacy-rnn again from its source.",
        )
