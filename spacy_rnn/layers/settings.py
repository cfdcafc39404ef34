"""Checks of a config's settings. Errors name the setting, the value and what is allowed."""

from collections.abc import Iterable
from typing import Any


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise a ValueError unless the value is one of the choices."""
    choices = list(choices)
    if value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"Setting {name} = {value!r} is unknown: choose one of {allowed}.")


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise a ValueError unless the value is a number that is large enough."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise ValueError(f"Setting {name} = {value!r} is too small: {least} is the least.")


def check_rate(name: str, value: float | None) -> None:
    """Raise a ValueError unless the value is None or a probability below 1."""
    if value is not None and not 0.0 <= value < 1.0:
        raise ValueError(
            f"Setting {name} = {value!r} is no dropout rate: it must be at least 0 and below 1."
        )
