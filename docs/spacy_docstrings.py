"""Read docstrings in spaCy's manner, which no extension of Sphinx knows: turn their lines into
Sphinx's fields.
"""

import re

# `name (Type): meaning`, or `RETURNS (Type): meaning`. Further lines are indented.
_FIELD = re.compile(r"(?P<name>\w+(?:, \w+)*) \((?P<type>.+?)\): (?P<text>\S.*)")
# What Sphinx would take for markup.
_MARKUP = re.compile(r"(?<=\w)_(?!\w)|[*|]")
_KINDS = {"RETURNS": "returns", "YIELDS": "yields", "RAISES": "raises"}


def to_fields(lines: list[str]) -> list[str]:
    """Turn the fields of a docstring into Sphinx's.

    lines (List[str]): The docstring.
    RETURNS (List[str]): The docstring with a list of fields at the end of the text.
    """
    text: list[str] = []
    fields: list[str] = []
    for line in map(_escape, lines):
        field = _FIELD.match(line)
        if field:
            fields += _make_field(field)
        elif fields and line.startswith(" "):
            fields[-1] += f" {line.strip()}"
        else:
            text.append(line)
    return [*text, "", *fields, ""]


def process_docstring(
    app: object, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """What Sphinx calls for each docstring, to change it in place."""
    lines[:] = to_fields(lines)


def _escape(line: str) -> str:
    # Every second part is code, in backticks.
    parts = line.split("`")
    parts[::2] = [_MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "`".join(parts)


def _make_field(field: re.Match[str]) -> list[str]:
    # Sphinx takes what is before a space for a type.
    name, type_, text = field["name"].replace(", ", ","), field["type"], field["text"]
    kind = _KINDS.get(name)
    if kind == "raises":
        return [f":raises {type_}: {text}"]
    if kind:
        return [f":{kind}: *{type_}* \u2013 {text}"]
    return [f":type {name}: {type_}", f":param {name}: {text}"]
