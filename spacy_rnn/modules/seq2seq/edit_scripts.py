"""Edit scripts: how a string becomes another, as a label that fits other strings too.

A script has two parts: the case of the result, and an edit tree (Chrupała 2008, "Towards a
machine-learning architecture for lexical functional grammar parsing"). A tree keeps the longest
common substring, and has a tree for the part before it and one for the part after it. Where a case
is set, the tree is for strings in lower case, so that it fits a word in any case.
"""

import json
from collections.abc import Callable
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

# How the result is written: as it is, or lower-cased, or with the first letter or all upper-cased.
_CASES: dict[str, Callable[[str], str]] = {
    "lower": str,
    "title": lambda text: text[:1].upper() + text[1:],
    "upper": str.upper,
}


@lru_cache(maxsize=100_000)
def make_script(source: str, target: str) -> str:
    """RETURNS (str): The script that makes the target of the source."""
    for case, convert in _CASES.items():
        lowered = target.lower()
        if convert(lowered) == target:
            script = json.dumps([case, _make_tree(source.lower(), lowered)], ensure_ascii=False)
            if apply_script(script, source) == target:
                return script
    return json.dumps(["keep", _make_tree(source, target)], ensure_ascii=False)


def apply_script(script: str, source: str) -> str | None:
    """RETURNS (Optional[str]): What a script makes of a string. None if it does not fit."""
    case, tree = _read_script(script)
    if case == "keep":
        return _apply_tree(tree, source)
    lowered = source.lower()
    if case != "lower" and lowered.upper() != source.upper():
        # Some letters of Unicode become others.
        return None
    edited = _apply_tree(tree, lowered)
    return None if edited is None else _CASES[case](edited)


@lru_cache(maxsize=100_000)
def _read_script(script: str) -> tuple[str, Any]:
    try:
        case, tree = json.loads(script)
        is_valid = (case == "keep" or case in _CASES) and _is_tree(tree)
    except (ValueError, TypeError):
        is_valid = False
    if not is_valid:
        raise ValueError(
            f'{script!r:.80} is no edit script, such as \'["lower", [0, 1, null, ["s", ""]]]\'. '
            "Make labels files with `spacy init labels`."
        )
    return case, tree


def _make_tree(source: str, target: str) -> Any:
    """RETURNS (Any): Null for the same string, a pair of a string and what replaces it, or the
    number of characters before and after the common substring and the trees for both.
    """
    if source == target:
        return None
    matcher = SequenceMatcher(None, source, target, autojunk=False)
    match = matcher.find_longest_match(0, len(source), 0, len(target))
    if not match.size:
        return [source, target]
    begin, end = match.a, match.a + match.size
    after = target[match.b + match.size :]
    return [
        begin,
        len(source) - end,
        _make_tree(source[:begin], target[: match.b]),
        _make_tree(source[end:], after),
    ]


def _is_tree(tree: Any) -> bool:
    if tree is None:
        return True
    if not isinstance(tree, list) or len(tree) not in (2, 4):
        return False
    if len(tree) == 2:
        return all(isinstance(string, str) for string in tree)
    return all(isinstance(n, int) and n >= 0 for n in tree[:2]) and all(map(_is_tree, tree[2:]))


def _apply_tree(tree: Any, source: str) -> str | None:
    if tree is None:
        return source
    if len(tree) == 2:
        return str(tree[1]) if source == tree[0] else None
    n_before, n_after, before, after = tree
    end = len(source) - n_after
    if n_before > end:
        return None
    begin = _apply_tree(before, source[:n_before])
    rest = _apply_tree(after, source[end:])
    return None if begin is None or rest is None else begin + source[n_before:end] + rest
