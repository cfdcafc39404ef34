"""How Sphinx builds the documentation: `make docs`, from the root of the repository."""

import os
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from spacy_docstrings import process_docstring  # noqa: E402

from spacy_rnn.about import __version__  # noqa: E402

project = "spacy-rnn"
author = "spacy-rnn contributors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "projects/*/README.md",
    "projects/benchmark/results/table.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
html_theme = "furo"
html_title = f"spacy-rnn {release}"
html_copy_source = False
myst_heading_anchors = 3
# A word in single backticks in a docstring is code.
default_role = "code"
# Quotes stay as they are: many belong to code.
smartquotes_action = "D"
# Docstrings say the types, as spaCy's do.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80


def link_readmes(app: Any, docname: str, source: list[str]) -> None:
    """Let a link to a directory lead to its README, as it does where the repository is shown."""
    folder = HERE.parent / os.path.dirname(docname)

    def add_name(match: re.Match[str]) -> str:
        target = match[1].rstrip("/")
        return f"]({target}/README.md)" if (folder / target / "README.md").is_file() else match[0]

    source[0] = re.sub(r"\]\(([^)#:]+)\)", add_name, source[0])


def setup(app: Any) -> None:
    """Sphinx's hook for extensions."""
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("source-read", link_readmes)
