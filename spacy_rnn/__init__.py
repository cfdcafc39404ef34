"""Recurrent networks as first-class citizens of spaCy."""

from .about import __version__
from .modules.workers import set_num_threads

__all__ = ["__version__", "set_num_threads"]
