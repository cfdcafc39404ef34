"""Recurrent networks as first-class citizens of spaCy."""

from .about import __version__

__all__ = ["__version__"]
