"""Compiled kernels. All else is in setup.cfg."""

from glob import glob

from setuptools import Extension, setup

FOLDER = "spacy_rnn/kernels"

# Without a compiler that knows the vector extensions of GCC and Clang, the package installs as
# well, and runs on torch's kernels.
setup(
    ext_modules=[
        Extension(
            "spacy_rnn.kernels._kernels",
            [f"{FOLDER}/_kernels.pyx", f"{FOLDER}/kernels.c"],
            depends=sorted(glob(f"{FOLDER}/*.h")),
            extra_compile_args=["-O3", "-Wno-psabi"],
            optional=True,
        )
    ]
)
