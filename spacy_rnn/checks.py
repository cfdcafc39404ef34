"""Checks of a config's settings. Errors name the setting, its value and what is allowed."""

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
    is_whole = isinstance(value, int) and _is_number(value)
    _require(name, value, is_whole and value >= least, f"a whole number from {least} on")


def check_counts(name: str, values: Iterable[Any], least: int) -> None:
    """Raise a ValueError unless all values are whole numbers that are large enough."""
    for value in values:
        check_count(name, value, least)


def check_positive(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a finite number above zero."""
    _require(name, value, _is_number(value) and 0 < value < math.inf, "a number above 0")


def check_limit(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a number, zero or above."""
    is_limit = _is_number(value) and value >= 0
    _require(name, value, is_limit, "a number from 0 on; 0 turns it off")


def check_rate(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a probability below 1."""
    is_rate = _is_number(value) and 0 <= value < 1
    _require(name, value, is_rate, "a dropout rate, at least 0 and below 1")


def check_share(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a number from 0 to 1."""
    _require(name, value, _is_number(value) and 0 <= value <= 1, "a number from 0 to 1")


def check_weights(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a dictionary from names to numbers from 0 on."""
    is_valid = isinstance(value, dict) and all(
        isinstance(key, str) and _is_number(weight) and 0 <= weight < math.inf
        for key, weight in value.items()
    )
    _require(name, value, is_valid, "a dictionary from names to numbers from 0 on")


def check_flag(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is true or false."""
    _require(name, value, isinstance(value, bool), "true or false")


def check_text(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a string."""
    _require(name, value, isinstance(value, str), "a string")


def check_key(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a string that is not empty, or None."""
    is_key = value is None or (isinstance(value, str) and value != "")
    _require(name, value, is_key, "a string that is not empty, or null")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require(name: str, value: Any, is_valid: bool, rule: str) -> None:
    if not is_valid:
        raise ValueError(f"Setting {name} = {value!r} must be {rule}.")
