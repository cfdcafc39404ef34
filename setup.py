"""Compiled kernels. All else is in setup.cfg."""

from setuptools import Extension, setup

FOLDER = "spacy_rnn/modules/compiled"

# Without a compiler that knows the vector extensions of GCC and Clang, the package installs as
# well, and runs on torch's kernels.
setup(
    ext_modules=[
        Extension(
            "spacy_rnn.modules.compiled._rnn",
            [f"{FOLDER}/_rnn.pyx", f"{FOLDER}/rnn.c"],
            depends=[f"{FOLDER}/rnn.h", f"{FOLDER}/softmax.h", f"{FOLDER}/steps.h"],
            extra_compile_args=["-O3", "-Wno-psabi"],
            optional=True,
        )
    ]
)
