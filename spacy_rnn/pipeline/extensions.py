"""Extension attributes (`token._.NAME`) of our components.

They are registered when a component is made or restored, never when the package is imported.
Another package's attribute of the same name is left alone. Values are in `doc.user_data`, under
spaCy's own keys, by characters: merging and splitting tokens, `Span.as_doc`, `Doc.from_docs`,
`Doc.to_json` and `DocBin` keep them.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spacy.tokens import Doc, Span, Token

Key = tuple[str, str, int | None, int | None]
# Compared by value: a process that was started by another one has copies.
Getter = Callable[[Any], Any]


def get_key(obj: Doc | Span | Token, name: str) -> Key:
    """RETURNS (Tuple[str, str, Optional[int], Optional[int]]): spaCy's key in `doc.user_data` for
    an extension attribute of an object.
    """
    if isinstance(obj, Span):
        return ("._.", name, obj.start_char, obj.end_char)
    return ("._.", name, obj.idx if isinstance(obj, Token) else None, None)


@dataclass(frozen=True)
class Stored:
    """Gets the stored value of a Doc or a Span, or None. Takes the extension attribute's name."""

    name: str

    def __call__(self, obj: Doc | Span) -> Any:
        user_data: dict[Any, Any] = obj.doc.user_data
        return user_data.get(get_key(obj, self.name))


@dataclass(frozen=True)
class StoredSum:
    """Gets the sum of the stored values of the tokens that were merged to a token, or None."""

    name: str

    def __call__(self, token: Token) -> Any:
        stored: dict[Any, Any] = token.doc.user_data
        keys = (("._.", self.name, token.idx + i, None) for i in range(max(len(token), 1)))
        found = [stored[key] for key in keys if key in stored]
        return sum(found) if found else None


@dataclass(frozen=True)
class Extension:
    """An extension attribute.

    holder (Type): Doc, Span or Token.
    name (str): Its name.
    getter (Callable): Gets its value. Must have an equality.
    """

    holder: Any
    name: str
    getter: Getter

    @property
    def is_ours(self) -> bool:
        """RETURNS (bool): Whether the registered attribute of this name is this one."""
        return bool(
            self.holder.has_extension(self.name)
            and self.holder.get_extension(self.name)[2] == self.getter
        )

    def store(self, obj: Doc | Span | Token, value: Any) -> None:
        """Store the value of an object, unless the attribute is another package's."""
        if self.is_ours:
            user_data: dict[Any, Any] = obj.doc.user_data
            user_data[get_key(obj, self.name)] = value

    def register(self, component: str, setting: str) -> None:
        """Register the attribute, or warn if another package has the name.

        component (str): The name of the component, for the warning.
        setting (str): The component's setting that chooses another name.
        """
        if not self.holder.has_extension(self.name):
            self.holder.set_extension(self.name, getter=self.getter)
        elif not self.is_ours:
            holder = self.holder.__name__.lower()
            warnings.warn(
                f"Component {component!r} can't register the extension attribute "
                f"{holder}._.{self.name}: another package has that name, whose values you will "
                f"see there. Give the component another name for it, by its setting {setting}.",
                stacklevel=2,
            )
