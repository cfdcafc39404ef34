"""Checks of a config's settings. Errors name the setting, the value and what is allowed."""

import math
from collections.abc import Iterable
from typing import Any


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise a ValueError unless the value is one of the choices."""
    choices = list(choices)
    if value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"Setting {name} = {value!r} is unknown: choose one of {allowed}.")


def check_count(name: str, value: Any, least: int) -> None:
    """Raise a ValueError unless the value is a whole number that is large enough."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"Setting {name} = {value!r} must be a whole number from {least} on.")


def check_counts(name: str, values: Iterable[Any], least: int) -> None:
    """Raise a ValueError unless all values are whole numbers that are large enough."""
    for value in values:
        check_count(name, value, least)


def check_positive(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"Setting {name} = {value!r} must be a number above 0.")


def check_limit(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a number, zero or above."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ValueError(f"Setting {name} = {value!r} must be a number from 0 on; 0 turns it off.")


def check_rate(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a probability below 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < 1.0:
        raise ValueError(
            f"Setting {name} = {value!r} is no dropout rate: it must be at least 0 and below 1."
        )


def check_share(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise ValueError(f"Setting {name} = {value!r} must be a number from 0 to 1.")


def check_flag(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"Setting {name} = {value!r} must be true or false.")


def check_text(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a string."""
    if not isinstance(value, str):
        raise ValueError(f"Setting {name} = {value!r} must be a string.")


def check_key(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a string that is not empty, or None."""
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError(f"Setting {name} = {value!r} must be a string that is not empty, or null.")
