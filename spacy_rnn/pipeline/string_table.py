"""What training showed unambiguously: a table from strings and their tags to strings."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

# The string of each part of speech or, where it has several, of each of its features' values. Null
# where these have several too.
Entry = dict[str, Any]
Key = tuple[str, str, str]


def build_table(pairs: Iterable[tuple[Key, str]]) -> dict[str, Entry]:
    """Build a table.

    pairs (Iterable[Tuple[Tuple[str, str, str], str]]): Of each token the string, its part of
        speech, its features, and the string to write.
    RETURNS (Dict[str, Dict[str, Any]]): An entry for each string.
    """
    counts: dict[str, dict[str, dict[str, Counter]]] = {}
    for (source, pos, morph), target in pairs:
        of_pos = counts.setdefault(source, {}).setdefault(pos, defaultdict(Counter))
        of_pos[morph][target] += 1
    return {
        source: {pos: _simplify(by_morph) for pos, by_morph in by_pos.items()}
        for source, by_pos in counts.items()
    }


def _simplify(by_morph: dict[str, Counter]) -> Any:
    targets = {target for found in by_morph.values() for target in found}
    if len(targets) == 1:
        return targets.pop()
    return {morph: next(iter(c)) if len(c) == 1 else None for morph, c in by_morph.items()}


def look_up(table: dict[str, Entry], key: Key) -> str | None:
    """Look a string up.

    table (Dict[str, Dict[str, Any]]): The table.
    key (Tuple[str, str, str]): The string, its part of speech and its features. Without a part of
        speech, the string must have one target for all.
    RETURNS (Optional[str]): What to write. None if training showed nothing, or several strings.
    """
    source, pos, morph = key
    entry = table.get(source)
    if entry is None:
        return None
    if pos:
        found = entry.get(pos)
        return found.get(morph) if isinstance(found, dict) else found
    if any(isinstance(found, dict) for found in entry.values()):
        return None
    targets: set[str] = set(entry.values())
    return targets.pop() if len(targets) == 1 else None
