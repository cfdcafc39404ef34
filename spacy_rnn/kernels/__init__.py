"""Compiled kernels on numpy arrays: recurrent layers, linear layers, and linear chains on a CPU.
They are built where there is a compiler when the package is installed. Without them everything
works on torch and numpy, more slowly.

The environment variable SPACY_RNN_KERNELS chooses the instruction set, or "none" of them.
"""

import os
from typing import Any


def _find_kernels() -> Any:
    wanted = os.environ.get("SPACY_RNN_KERNELS")
    if wanted == "none":
        return None
    try:
        from . import _kernels
    except ImportError as err:
        if not wanted:
            return None
        raise RuntimeError(
            f"Environment variable SPACY_RNN_KERNELS is {wanted!r}, but no kernels were built with "
            "spacy-rnn: reinstall it where there is a C compiler, or unset this variable."
        ) from err
    return _kernels


_found = _find_kernels()
# "avx512", "avx2" or, not on x86, "base": what all processors of a kind have. None without kernels.
INSTRUCTIONS: str | None = getattr(_found, "INSTRUCTIONS", None)
# Whether there are kernels for 8-bit integers.
HAS_INT8: bool = getattr(_found, "HAS_INT8", False)
# Whether there are kernels for bfloat16, and whether they are faster than the others here.
HAS_BFLOAT16: bool = getattr(_found, "HAS_BFLOAT16", False)
PREFERS_BFLOAT16: bool = getattr(_found, "PREFERS_BFLOAT16", False)
# Whether the processor has AMX, with which torch multiplies bfloat16 faster.
HAS_AMX: bool = getattr(_found, "HAS_AMX", False)
