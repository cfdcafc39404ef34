"""Settings of components: checked when they are set, stored with the component, and overridden by
the config that it is loaded with.
"""

import math
import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

# The key of the settings as the config gave them.
CONFIGURED = "configured"


class Setting:
    """A property of a component that is kept in its `cfg`.

    check (Callable[[str, Any], None]): Raises a ValueError for a name and a value that is invalid.
    default (Any): The factory's default.
    """

    def __init__(self, check: Callable[[str, Any], None], default: Any):
        self.check = check
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, component: Any, owner: type) -> Any:
        return self if component is None else component.cfg[self.name]

    def __set__(self, component: Any, value: Any) -> None:
        component.cfg[self.name] = value


def get_settings(owner: type) -> dict[str, Setting]:
    """RETURNS (Dict[str, Setting]): The settings of a class of components, by name."""
    members = [value for base in reversed(owner.__mro__) for value in vars(base).values()]
    return {member.name: member for member in members if isinstance(member, Setting)}


class CheckedSettings(dict[str, Any]):
    """A component's `cfg`. Its settings are checked when they are set, and no others can be.

    component (str): The component's name, for error messages.
    owner (type): The component's class, which has the settings.
    values (Dict[str, Any]): The component's `cfg` so far.
    given (Any): More settings. The rest have their defaults.
    """

    def __init__(self, component: str, owner: type, values: dict[str, Any], **given: Any):
        self.component = component
        self.owner = owner
        settings = get_settings(owner)
        super().__init__(values)
        for name, setting in settings.items():
            self.setdefault(name, deepcopy(setting.default))
        for name, value in ({name: self[name] for name in settings} | given).items():
            self[name] = value
        self.setdefault(CONFIGURED, deepcopy({name: self[name] for name in settings}))

    def __setitem__(self, name: str, value: Any) -> None:
        self._check(name, value)
        super().__setitem__(name, value)

    def update(self, stored: dict[str, Any]) -> None:  # type: ignore[override]
        """Load the `cfg` that was stored with a trained component. A setting keeps its value if it
        is an override, as in `spacy.load(path, config=...)`: different from the factory's default
        and from the config of the stored component. The default is none, so that
        `nlp.add_pipe(name).from_disk(path)` loads what was stored.

        stored (Dict[str, Any]): The `cfg` that was stored.
        RAISES (ValueError): If a value is invalid or a setting unknown. Nothing is changed.
        """
        given, stored_given = self[CONFIGURED], stored.get(CONFIGURED)
        values = {**stored, CONFIGURED: given}
        for name, setting in get_settings(self.owner).items():
            is_default = _is_same(given[name], setting.default)
            if name not in stored or is_default or _is_same(given[name], stored[name]):
                continue
            if stored_given is None:
                warnings.warn(
                    f"Component {self.component!r} was saved by a version that can't tell whether "
                    f"{name} = {given[name]!r} in the config is an override: it keeps {name} = "
                    f"{stored[name]!r}. To change it, set it after loading: "
                    f"nlp.get_pipe({self.component!r}).{name} = {given[name]!r}.",
                    stacklevel=2,
                )
            elif not _is_same(given[name], stored_given.get(name)):
                values[name] = given[name]
        for name, value in values.items():
            self._check(name, value)
        super().update(values)

    def _check(self, name: str, value: Any) -> None:
        settings = get_settings(self.owner)
        if name not in self:
            raise ValueError(
                f"Component {self.component!r} has no setting {name!r}: its settings are "
                f"{', '.join(settings)}."
            )
        if name in settings:
            try:
                settings[name].check(name, value)
            except ValueError as err:
                raise ValueError(f"Component {self.component!r}: {err}") from None

    def __reduce__(self) -> Any:
        return type(self), (self.component, self.owner, dict(self))


def _is_same(one: Any, other: Any) -> bool:
    # JSON changes the last digit of a number.
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    return bool(one == other)
