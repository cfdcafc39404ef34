"""Compiled kernels. All else is in setup.cfg."""

import os
from glob import glob

from setuptools import Extension, setup

FOLDER = "spacy_rnn/kernels"
# GNU's C fixes neither FMA nor errno: other standards turn FMA off without a message.
FLAGS = ["-O3", "-std=gnu11", "-ffp-contract=fast", "-Wno-psabi"]
# `make sanitize` sets it. What is built then lies apart, for no other build to take it.
SANITIZE = os.environ.get("SPACY_RNN_SANITIZE", "").split()

# Without a compiler that knows the vector extensions of GCC and Clang, the package installs as
# well, and runs on torch's kernels.
setup(
    ext_modules=[
        Extension(
            "spacy_rnn.kernels._kernels",
            [f"{FOLDER}/_kernels.pyx", f"{FOLDER}/kernels.c", f"{FOLDER}/trees.c"],
            depends=sorted(glob(f"{FOLDER}/*.h")),
            extra_compile_args=FLAGS + SANITIZE,
            extra_link_args=SANITIZE,
            optional=not SANITIZE,
        )
    ],
    options={"build": {"build_base": "build/sanitize"}} if SANITIZE else {},
)
