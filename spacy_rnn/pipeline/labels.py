"""Checks of the labels that a component is initialised with."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from spacy.training import Example

# A labels file is there so that the data need not be read for it: a look at the beginning is enough
# to see that it is another component's.
N_SAMPLED = 100


def find_labels(
    component: str,
    get_examples: Callable[[], Iterable[Example]],
    labels: Iterable[str] | None,
    read: Callable[[Example], Iterable[str]],
    source: str,
) -> list[str]:
    """Find the labels in the training data, or check those that are given.

    component (str): The component's name, for error messages.
    get_examples (Callable[[], Iterable[Example]]): Returns the training data.
    labels (Optional[Iterable[str]]): The labels, from a labels file for example. None looks for
        them in the data.
    read (Callable[[Example], Iterable[str]]): Reads the labels of an example.
    source (str): Where those are, for error messages.
    RETURNS (List[str]): The labels, in the order of the data or as they were given.
    RAISES (ValueError): If what is given is no list of labels, or has none of those in the first
        examples.
    """
    if labels is None:
        return list(dict.fromkeys(label for eg in get_examples() for label in read(eg)))
    if isinstance(labels, str | dict):
        raise ValueError(
            f"The labels of component {component!r} must be a list of strings, and not "
            f"{labels!r:.60}. Label files of spaCy's ner are of another kind: make a new one with "
            "`spacy init labels`."
        )
    labels = list(labels)
    found = {label for eg in islice(get_examples(), N_SAMPLED) for label in read(eg)}
    if found and found.isdisjoint(labels):
        raise ValueError(
            f"The labels that component {component!r} was given ({_show(labels)}) have none of "
            f"those in the training data's {source} ({_show(sorted(found))}). Is the labels file "
            "in [initialize.components] another component's? Make one with `spacy init labels`."
        )
    return labels


def _show(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "")
