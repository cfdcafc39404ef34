"""Number agreement: whether a language model prefers the form of a word that agrees."""

import csv
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from ..layers.lm import Scorer
from ..modules.lm.language_model import UNKNOWN_ID

BATCH_ITEMS = 256
# Lines of Linzen's sentences that the texts of training contain, if such a file is beside them.
_SEEN_LINES = "lines_found_in_*.txt"


@dataclass(frozen=True)
class Item:
    """A beginning of a sentence, and two forms of the word that comes next.

    condition (str): What kind of sentence it is.
    prefix (List[str]): The words of the beginning.
    correct, wrong (str): The form that agrees, and the one that does not.
    """

    condition: str
    prefix: list[str]
    correct: str
    wrong: str


@dataclass
class Accuracy:
    """How often the form that agrees was the more probable one.

    n_correct (int): How often it was.
    n_items (int): Among how many items.
    n_skipped (int): How many more there are, of which a form is not in the vocabulary.
    """

    n_correct: int = 0
    n_items: int = 0
    n_skipped: int = 0

    @property
    def accuracy(self) -> float | None:
        """RETURNS (Optional[float]): The share that was right, None without items."""
        return self.n_correct / self.n_items if self.n_items else None

    def __add__(self, other: "Accuracy") -> "Accuracy":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Accuracy(*(ours + theirs for ours, theirs in pairs))


def read_items(path: Path) -> dict[str, list[Item]]:
    """Read the data of Lakretz et al. (2019), "The emergence of number and syntax units in LSTM
    language models", and of Gulordava et al. (2018), "Colorless green recurrent networks dream
    hierarchically".

    path (Path): A file, or a directory in which files are looked for, as they are named in the
        papers' repositories: `NA_tasks/*.txt`, `agreement/LANGUAGE/generated.tab`,
        `linzen_testset/subj_agr_filtered.text`.
    RETURNS (Dict[str, List[Item]]): The items of each task.
    RAISES (ValueError): If there are none, or a file is not what it should be.
    """
    # Links to directories are followed.
    walk = os.walk(path, followlinks=True)
    found = sorted(Path(directory, name) for directory, _, names in walk for name in names)
    files = [path] if path.is_file() else found
    tasks = {}
    for file in files:
        if file.suffix == ".txt" and file.parent.name == "NA_tasks" and file.stem != "readme":
            tasks[file.stem] = _read_lakretz(file)
        elif file.name == "generated.tab":
            tasks[f"colorless green, {file.parent.name}"] = _read_gulordava(file)
        elif file.name == "subj_agr_filtered.text":
            tasks["Linzen"] = _read_linzen(file)
    if not tasks:
        raise ValueError(
            f"Found no number agreement data in '{path}': looked for NA_tasks/*.txt, generated.tab "
            "and subj_agr_filtered.text."
        )
    return tasks


def measure(scorer: Scorer, items: Iterable[Item]) -> dict[str, Accuracy]:
    """Ask a model which form is the more probable.

    scorer (Scorer): The model.
    items (Iterable[Item]): The questions.
    RETURNS (Dict[str, Accuracy]): The answers for each condition.
    """
    results: dict[str, Accuracy] = {}
    items = list(items)
    for start in range(0, len(items), BATCH_ITEMS):
        batch = items[start : start + BATCH_ITEMS]
        forms = [(item.correct, item.wrong) for item in batch]
        logs = scorer.compare([item.prefix for item in batch], forms)
        for item, pair, (correct, wrong) in zip(batch, forms, logs, strict=True):
            result = results.setdefault(item.condition, Accuracy())
            if UNKNOWN_ID in scorer.vocabulary.get_ids(pair):
                result.n_skipped += 1
                continue
            result.n_items += 1
            result.n_correct += correct > wrong
    return results


def draw_accuracies(results: dict[str, dict[str, Accuracy]], path: Path) -> bool:
    """Draw a bar for each condition of each task.

    results (Dict[str, Dict[str, Accuracy]]): What `measure` returned for each task.
    path (Path): Where to put the picture.
    RETURNS (bool): Whether it was drawn, which needs matplotlib and an item.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    bars = [
        (f"{task}: {condition}", 100 * result.accuracy)
        for task, conditions in results.items()
        for condition, result in conditions.items()
        if result.accuracy is not None
    ]
    if not bars:
        return False
    figure = Figure(figsize=(7, 1 + 0.25 * len(bars)), layout="constrained")
    axes = figure.subplots()
    names, values = zip(*reversed(bars), strict=True)
    container = axes.barh(names, values, color="C0")
    axes.bar_label(container, fmt="%.1f", padding=3, fontsize=8)
    axes.axvline(50, color="0.5", linestyle=":")
    axes.set(xlabel="Number agreement accuracy (%)", xlim=(0, 110))
    axes.tick_params(axis="y", labelsize=8)
    figure.savefig(path, dpi=150)
    return True


def _read_lakretz(file: Path) -> list[Item]:
    pairs: dict[tuple[str, str], dict[str, list[str]]] = {}
    for number, row in enumerate(_read_rows(file), start=1):
        if len(row) != 4 or row[2] not in ("correct", "wrong"):
            raise _unreadable(
                file, number, "four columns: sentence, condition, correct or wrong, ID"
            )
        sentence, condition, kind, identifier = row
        pairs.setdefault((condition, identifier), {})[kind] = sentence.split()
    items = []
    for (condition, identifier), pair in pairs.items():
        correct, wrong = pair.get("correct", []), pair.get("wrong", [])
        if not correct or correct[:-1] != wrong[:-1]:
            raise ValueError(
                f"Can't read '{file}': the sentences of {identifier} in condition {condition} are "
                "no pair that differs in its last word."
            )
        items.append(Item(condition, correct[:-1], correct[-1], wrong[-1]))
    return items


def _read_gulordava(file: Path) -> list[Item]:
    with open(file, encoding="utf8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    wanted = {"pattern", "constr_id", "sent_id", "form", "class", "type", "prefix"}
    if not rows or not wanted <= set(rows[0]):
        raise _unreadable(file, 1, f"the columns {', '.join(sorted(wanted))}")
    pairs: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in rows:
        key = (row["pattern"], row["constr_id"], row["sent_id"], row["prefix"])
        pairs.setdefault(key, {})[row["class"]] = row
    return [
        Item(
            "original" if pair["correct"]["type"] == "original" else "nonce",
            pair["correct"]["prefix"].split(),
            pair["correct"]["form"],
            pair["wrong"]["form"],
        )
        for pair in pairs.values()
        if len(pair) == 2
    ]


def _read_linzen(file: Path) -> list[Item]:
    sentences = file.read_text(encoding="utf8").splitlines()
    gold = _read_rows(file.with_suffix(".gold"))
    seen = {
        int(line) for other in file.parent.glob(_SEEN_LINES) for line in other.read_text().split()
    }
    items = []
    for number, (sentence, row) in enumerate(zip(sentences, gold, strict=True), start=1):
        if len(row) != 4:
            raise _unreadable(file.with_suffix(".gold"), number, "four columns")
        if number not in seen:
            place, correct, wrong, n_attractors = row
            prefix = sentence.split()[: int(place)]
            items.append(Item(f"{n_attractors} attractors", prefix, correct, wrong))
    return sorted(items, key=lambda item: item.condition)


def _read_rows(file: Path) -> list[list[str]]:
    lines = file.read_text(encoding="utf8").splitlines()
    return [line.split("\t") for line in lines if line.strip()]


def _unreadable(file: Path, number: int, wanted: str) -> ValueError:
    return ValueError(f"Can't read '{file}', line {number}: there should be {wanted}.")
