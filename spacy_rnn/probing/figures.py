"""Pictures, with the optional package matplotlib."""

from typing import Any


def make_figure(size: tuple[float, float]) -> Any:
    """RETURNS (Figure): An empty figure of so many inches.
    RAISES (ImportError): If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise ImportError(
            "Pictures need matplotlib: install it with pip install 'spacy-rnn[plot]', or leave "
            "out the option for the picture."
        ) from err
    return Figure(figsize=size, layout="constrained")
