"""Settings of components: checked when they are set, stored with the component, and overridden by
the config that it is loaded with.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

# What the settings were in the config that the component was made from.
CONFIGURED = "configured"


class Setting:
    """A property of a component that is kept in its `cfg`.

    check (Callable[[str, Any], None]): Raises a ValueError if a value, given with the setting's
        name, has no meaning.
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
    return {
        name: value
        for base in reversed(owner.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, Setting)
    }


class CheckedSettings(dict[str, Any]):
    """A component's `cfg`. Its settings are checked when they are set, and it takes no others.

    component (str): The component's name, for error messages.
    owner (type): The component's class, which has the settings.
    values (Dict[str, Any]): All that is in it.
    """

    def __init__(self, component: str, owner: type, values: dict[str, Any]):
        settings = get_settings(owner)
        super().__init__(values)
        self.setdefault(CONFIGURED, {name: values[name] for name in settings})
        self.component = component
        self.owner = owner
        for name in settings:
            self._check(name, values[name])

    def __setitem__(self, name: str, value: Any) -> None:
        self._check(name, value)
        super().__setitem__(name, value)

    def update(self, stored: dict[str, Any]) -> None:  # type: ignore[override]
        """Take over the `cfg` that was stored with a trained component. A setting that the
        component was made with, and that the stored one was not made with, was overridden, as in
        `spacy.load(path, config=...)`: it keeps its value. The factory's default counts as not
        given, as in `nlp.add_pipe(name).from_disk(path)`.

        stored (Dict[str, Any]): The `cfg` that was stored.
        RAISES (ValueError): If a value has no meaning, or a setting is unknown. Nothing is changed.
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
    # The JSON that is stored changes the last digit of a number.
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    return bool(one == other)
