import os
import subprocess
import sys

import pytest

# An installation without a compiler has no `_kernels`.
IMPORT = """
import sys
sys.modules["spacy_rnn.kernels._kernels"] = None
from spacy_rnn import kernels
print(kernels.INSTRUCTIONS, kernels.HAS_BFLOAT16, kernels.PREFERS_BFLOAT16, kernels.HAS_AMX)
"""


@pytest.mark.parametrize("wanted", ["avx2", "none", None])
def test_kernels_that_were_not_built_can_not_be_asked_for(wanted):
    environment = {k: v for k, v in os.environ.items() if k != "SPACY_RNN_KERNELS"}
    if wanted:
        environment["SPACY_RNN_KERNELS"] = wanted
    command = [sys.executable, "-c", IMPORT]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if wanted == "avx2":
        assert "RuntimeError" in run.stderr and "'avx2', but no kernels were built" in run.stderr
    else:
        assert run.stdout.split() == ["None", "False", "False", "False"], run.stderr
