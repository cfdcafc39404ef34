"""The labels of components."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from spacy.training import Example

# With a labels file the data need not be read. Its beginning shows whether the file is another
# component's.
N_SAMPLED = 100


class LabelList:
    """Give a component a list of labels that can grow. Goes before spaCy's class in the list of
    bases.
    """

    cfg: dict[str, Any]
    vocab: Any

    @property
    def labels(self) -> tuple[str, ...]:
        """RETURNS (Tuple[str, ...]): The labels."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> list[str]:
        """RETURNS (List[str]): The labels for `spacy init labels`."""
        return list(self.cfg["labels"])

    def add_label(self, label: str) -> int:
        """Add a label. A trained model keeps the scores of its other labels.

        RETURNS (int): 1 if it was added, 0 if it was there.
        """
        if not isinstance(label, str) or not label:
            raise ValueError(f"A label must be a string that is not empty, and not {label!r}.")
        if label in self.labels:
            return 0
        self.cfg["labels"].append(label)
        self.vocab.strings.add(label)
        self.extend_outputs()
        return 1

    def extend_outputs(self) -> None:
        """Give a trained model outputs for labels that were added."""
        raise NotImplementedError


def find_labels(
    component: Any,
    get_examples: Callable[[], Iterable[Example]],
    labels: Iterable[str] | None,
    read: Callable[[Example], Iterable[str]],
    source: str,
    n_least: int = 1,
) -> list[str]:
    """Find the labels in the training data, or check those that are given.

    component (TrainablePipe): The component, which may have labels already.
    get_examples (Callable[[], Iterable[Example]]): Returns the training data.
    labels (Optional[Iterable[str]]): The labels, from a labels file for example. None looks for
        them in the data.
    read (Callable[[Example], Iterable[str]]): Reads the labels of an example.
    source (str): Where it reads them, for error messages.
    n_least (int): The least number of labels.
    RETURNS (List[str]): The labels, in the order of the data or as they were given.
    RAISES (ValueError): If `labels` is no list, or has none of the labels in the first examples, or
        if there are too few.
    """
    name = component.name
    if labels is None:
        found = list(dict.fromkeys(label for eg in get_examples() for label in read(eg)))
    elif isinstance(labels, str | dict):
        raise ValueError(
            f"The labels of component {name!r} must be a list of strings, and not "
            f"{labels!r:.60}. Label files of spaCy's ner are of another kind: make a new one with "
            "`spacy init labels`."
        )
    else:
        found = list(labels)
        sample = {label for eg in islice(get_examples(), N_SAMPLED) for label in read(eg)}
        if sample and sample.isdisjoint(found):
            raise ValueError(
                f"The labels that component {name!r} was given ({_show(found)}) have none of "
                f"those in the training data's {source} ({_show(sorted(sample))}). Is the labels "
                "file in [initialize.components] another component's? Make one with `spacy init "
                "labels`."
            )
    known = sorted({*found, *component.labels})
    if len(known) < n_least:
        raise ValueError(
            f"Component {name!r} needs {n_least} or more labels, and has "
            f"{f'{len(known)}: {_show(known)}' if known else 'no labels'}. Labels are found in the "
            f"{source} of the training data, given in [initialize.components] or added with "
            "add_label."
        )
    return found


def _show(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "")
