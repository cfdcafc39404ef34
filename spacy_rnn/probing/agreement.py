"""Number agreement: does a language model prefer the word form that agrees?"""

import csv
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from spacy.util import minibatch

from ..layers.lm import Scorer
from ..modules.lm.vocabulary import UNKNOWN_ID

BATCH_ITEMS = 256
# The numbers of Linzen's sentences that are in the training texts, if such a file is beside them.
_SEEN_LINES = "lines_found_in_*.txt"


@dataclass(frozen=True)
class Item:
    """The beginning of a sentence, and two forms of the next word.

    condition (str): The condition, or type of sentence.
    prefix (List[str]): The words of the beginning.
    correct, wrong (str): The form that agrees, and the form that does not.
    """

    condition: str
    prefix: list[str]
    correct: str
    wrong: str


@dataclass
class Accuracy:
    """The number agreement accuracy of a model.

    n_correct (int): The number of items in which the correct form was more probable.
    n_items (int): The number of items.
    n_skipped (int): The number of further items with a form that is not in the vocabulary.
    """

    n_correct: int = 0
    n_items: int = 0
    n_skipped: int = 0

    @property
    def accuracy(self) -> float | None:
        """RETURNS (Optional[float]): The share of correct items. None without items."""
        return self.n_correct / self.n_items if self.n_items else None

    def __add__(self, other: "Accuracy") -> "Accuracy":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Accuracy(*(ours + theirs for ours, theirs in pairs))


def read_items(path: Path) -> dict[str, list[Item]]:
    """Read the data of Lakretz et al. (2019), "The emergence of number and syntax units in LSTM
    language models", and of Gulordava et al. (2018), "Colorless green recurrent networks dream
    hierarchically".

    path (Path): A file, or a directory that contains files with the names they have in the papers'
        repositories: `NA_tasks/*.txt`, `agreement/LANGUAGE/generated.tab`,
        `linzen_testset/subj_agr_filtered.text`.
    RETURNS (Dict[str, List[Item]]): The items of each task.
    RAISES (ValueError): If there are none, or a file has another format.
    """
    tasks = {}
    for file in _find_files(path):
        if file.name == "generated.tab":
            tasks[f"colorless green, {file.parent.name}"] = _read_gulordava(file)
        elif file.name == "subj_agr_filtered.text":
            tasks["Linzen"] = _read_linzen(file)
        else:
            tasks[file.stem] = _read_lakretz(file)
    if not tasks:
        raise ValueError(
            f"Found no number agreement data in '{path}': looked for NA_tasks/*.txt, generated.tab "
            "and subj_agr_filtered.text."
        )
    return tasks


def has_items(path: Path) -> bool:
    """RETURNS (bool): Whether there is number agreement data to read."""
    return bool(_find_files(path))


def read_task(path: Path, name: str | None = None) -> list[Item]:
    """Read the items of one task, as `read_items` does.

    path (Path): A file or a directory.
    name (Optional[str]): The name of the task. None if there is only one.
    RETURNS (List[Item]): The items.
    RAISES (ValueError): If there is no such task, or several and no name.
    """
    tasks = read_items(path)
    if name is None and len(tasks) == 1:
        return next(iter(tasks.values()))
    if name not in tasks:
        raise ValueError(f"Name one of the tasks in '{path}' by --task: {', '.join(tasks)}.")
    return tasks[name]


def measure(scorer: Scorer, items: Iterable[Item]) -> dict[str, Accuracy]:
    """Measure the accuracy of a model.

    scorer (Scorer): The model.
    items (Iterable[Item]): The items.
    RETURNS (Dict[str, Accuracy]): The accuracy in each condition.
    """
    results: dict[str, Accuracy] = {}
    for batch in minibatch(items, BATCH_ITEMS):
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

    results (Dict[str, Dict[str, Accuracy]]): The results of `measure` for each task.
    path (Path): The PNG file.
    RETURNS (bool): False if matplotlib is not installed, or there are no items.
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


def _find_files(path: Path) -> list[Path]:
    walk = os.walk(path, followlinks=True)
    found = sorted(Path(directory, name) for directory, _, names in walk for name in names)
    return [file for file in ([path] if path.is_file() else found) if _has_known_name(file)]


def _has_known_name(file: Path) -> bool:
    if file.suffix == ".txt" and file.parent.name == "NA_tasks":
        return file.stem != "readme"
    return file.name in ("generated.tab", "subj_agr_filtered.text")


def _read_lakretz(file: Path) -> list[Item]:
    pairs: dict[tuple[str, str], dict[str, list[str]]] = {}
    for sentence, condition, kind, number in _read_rows(file, "sentence, condition, kind, ID"):
        pairs.setdefault((condition, number), {})[kind] = sentence.split()
    items = []
    for (condition, number), pair in pairs.items():
        correct, wrong = pair.get("correct", []), pair.get("wrong", [])
        if not correct or correct[:-1] != wrong[:-1]:
            raise ValueError(
                f"Can't read '{file}': the sentences {number} in condition {condition} are no pair "
                "that differs in the last word only."
            )
        items.append(Item(condition, correct[:-1], correct[-1], wrong[-1]))
    return items


def _read_gulordava(file: Path) -> list[Item]:
    with open(file, encoding="utf8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    wanted = {"pattern", "constr_id", "sent_id", "form", "class", "type", "prefix"}
    if not rows or not wanted <= set(rows[0]):
        raise ValueError(f"Can't read '{file}': it needs the columns {', '.join(sorted(wanted))}.")
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
    gold = _read_rows(file.with_suffix(".gold"), "place, correct, wrong, attractors")
    seen = {
        int(line) for other in file.parent.glob(_SEEN_LINES) for line in other.read_text().split()
    }
    items = [
        Item(f"{n_attractors} attractors", sentence.split()[: int(place)], correct, wrong)
        for number, (sentence, row) in enumerate(zip(sentences, gold, strict=True), start=1)
        for place, correct, wrong, n_attractors in [row]
        if number not in seen
    ]
    return sorted(items, key=lambda item: item.condition)


def _read_rows(file: Path, columns: str) -> list[list[str]]:
    lines = file.read_text(encoding="utf8").splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(columns.split(",")):
            raise ValueError(f"Can't read '{file}', line {number}: it needs columns {columns}.")
    return rows
