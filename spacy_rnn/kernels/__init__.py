"""Compiled kernels on numpy arrays: recurrent layers, linear layers, and linear chains on a CPU.
They are built where there is a compiler when the package is installed. Without them everything
works on torch, more slowly.

The environment variable SPACY_RNN_KERNELS chooses the instruction set, or "none" of them.
"""

import os


def _find_instructions() -> tuple[str | None, bool, bool]:
    wanted = os.environ.get("SPACY_RNN_KERNELS")
    if wanted == "none":
        return None, False, False
    try:
        from ._kernels import HAS_BFLOAT16, INSTRUCTIONS, PREFERS_BFLOAT16
    except ImportError as err:
        if wanted:
            raise RuntimeError(
                f"Environment variable SPACY_RNN_KERNELS is {wanted!r}, but no kernels were built "
                "with spacy-rnn: reinstall it where there is a C compiler, or unset this variable."
            ) from err
        return None, False, False
    return INSTRUCTIONS, HAS_BFLOAT16, PREFERS_BFLOAT16


# "avx512", "avx2" or, not on x86, "base": what all processors of a kind have. None without kernels.
# Then whether there are kernels for bfloat16, and whether they are faster than the others here.
INSTRUCTIONS, HAS_BFLOAT16, PREFERS_BFLOAT16 = _find_instructions()
