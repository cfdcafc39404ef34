"""What a component that writes strings finds in its training data."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..modules.seq2seq.alphabet import Alphabet
from ..modules.seq2seq.edit_scripts import apply_script, make_script
from .string_table import Key, build_table

_KINDS = {"edits": list, "tags": list, "table": dict, "chars": list}


def find_strings(
    pairs: Iterable[tuple[Key, str]], min_edit_freq: int, min_char_freq: int
) -> dict[str, Any]:
    """Find what can be learned from pairs of strings.

    pairs (Iterable[Tuple[Tuple[str, str, str], str]]): Of each token the string, its part of
        speech, its features, and the string to write.
    min_edit_freq (int): How often an edit script must occur to be a label.
    min_char_freq (int): In how many pairs of strings a character must be to be in the alphabet, if
        it can always be copied.
    RETURNS (Dict[str, Any]): The edit scripts, tags, characters, and the table of strings.
    """
    counts = Counter(pairs)
    scripts: Counter = Counter()
    for (key, target), freq in counts.items():
        scripts[make_script(key[0], target)] += freq
    strings = {(source, target) for (source, *_), target in counts}
    return {
        "edits": [edit for edit, n in scripts.most_common() if n >= min_edit_freq],
        "tags": sorted({tag for key, _ in counts for tag in get_tags(key)}),
        "table": build_table(counts),
        "chars": Alphabet.count(strings, min_char_freq).chars,
    }


def check_strings(component: str, labels: Any) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What `find_strings` returned, from a labels file. A ValueError is
    raised if it is something else.
    """
    if not isinstance(labels, dict) or any(
        not isinstance(labels.get(name), kind) for name, kind in _KINDS.items()
    ):
        raise ValueError(
            f"The labels of component {component!r} must be a dictionary with 'edits', 'tags', "
            f"'table' and 'chars', and not {labels!r:.60}. Make a file of them with `spacy init "
            "labels`."
        )
    for script in labels["edits"]:
        apply_script(script, "")
    return {name: labels[name] for name in _KINDS}


def get_tags(key: Key) -> list[str]:
    """RETURNS (List[str]): The part of speech and the features of a key, one by one."""
    _, pos, morph = key
    return [*([f"POS={pos}"] if pos else []), *(morph.split("|") if morph else [])]
