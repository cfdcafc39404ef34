"""Each set of kernels is compiled for the instructions that it is named after."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache

import pytest

from spacy_rnn.kernels import INSTRUCTIONS

if INSTRUCTIONS is None:
    pytest.skip("the kernels were not built, or are turned off", allow_module_level=True)

from spacy_rnn.kernels import _kernels

IS_X86 = os.uname().machine == "x86_64"
NAMES = ("avx512", "avx2", "base") if IS_X86 else ("base",)
SYMBOL = re.compile(r"[0-9a-f]+ <[a-z]\w*_(avx512bf16|avx512vnni|avx512|avx2|base)(\.\S+)?>:")
KINDS = {
    "FMA": r"\bvfn?m(add|sub)",
    "ymm": "%ymm",
    "AVX-512": r"%zmm|%[xy]mm(1[6-9]|2\d|3[01])|%k[1-7]",
    "bfloat16": r"\bvdpbf16ps",
    "VNNI": r"\bvpdpbusd",
}


@cache
def count_instructions() -> dict[str, Counter[str]]:
    """RETURNS: How many instructions of each kind the functions of each instruction set have."""
    command = ["objdump", "--disassemble", "--no-show-raw-insn", _kernels.__file__]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found: dict[str, Counter[str]] = defaultdict(Counter)
    counts: Counter[str] = Counter()
    for line in lines:
        if line.endswith(">:"):
            symbol = SYMBOL.match(line)
            counts = found[symbol[1]] if symbol else Counter()
        counts.update(kind for kind, pattern in KINDS.items() if re.search(pattern, line))
    return found


@pytest.mark.skipif(not IS_X86 or not shutil.which("objdump"), reason="needs objdump on x86-64")
def test_kernels_have_their_instructions_and_no_others():
    found = count_instructions()
    if not found:
        pytest.skip("the extension has no symbols")
    expected = {"avx512": {"FMA", "AVX-512"}, "avx2": {"FMA", "ymm"}, "base": set()}
    # Older compilers do not know these.
    for name, kind in {"avx512bf16": "bfloat16", "avx512vnni": "VNNI"}.items():
        if name in found:
            expected[name] = {"FMA", "AVX-512", kind}
    # AVX-512 includes ymm.
    kinds = {name: {kind for kind, n in counts.items() if n > 50} for name, counts in found.items()}
    assert {k: v - {"ymm"} if "AVX-512" in v else v for k, v in kinds.items()} == expected
    assert not found["base"] and not found["avx2"]["AVX-512"]
    assert not found["avx512"]["bfloat16"] and not found["avx512"]["VNNI"]


@pytest.mark.parametrize("name", NAMES)
def test_the_instruction_set_that_was_asked_for_is_reported(name):
    code = "from spacy_rnn.kernels import _kernels as k; print(k.INSTRUCTIONS, k.LANES)"
    environment = {**os.environ, "SPACY_RNN_KERNELS": name}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if "no such kernels" in run.stderr:
        pytest.skip(f"this processor has no {name}")
    lanes = {"avx512": 16, "avx2": 8, "base": 4}[name]
    assert run.stdout.split() == [name, str(lanes)], run.stderr
