"""Measure lemmatizers, which the project `lemmatizer` trained and evaluated, in one run."""

import random
import statistics
import time
from collections.abc import Callable, Container, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import spacy
import srsly
import typer
from report import make_table
from results import RESULTS, get_commit, get_machine, get_versions, now, write_json
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab
from timing import make_new_texts, take_turns
from wasabi import msg

LEMMATIZER = Path(__file__).resolve().parents[2] / "lemmatizer"
BATCH_SIZE = 1000
WARM_UP_TEXTS = 50
KINDS = {"all": "all forms", "seen": "seen forms", "unseen": "unseen forms"}


def lemmas_cli(
    names: Annotated[list[str], typer.Argument(help="NAME of each lemmatizer: all its seeds")],
    treebank: Annotated[
        list[str] | None, typer.Option(help="Treebanks (default: all that have been evaluated)")
    ] = None,
    repeats: Annotated[int, typer.Option(help="How many times to measure")] = 5,
    limit: Annotated[int, typer.Option(help="How many Docs to take, 0 for all")] = 0,
    results: Annotated[Path, typer.Option(help="Directory of results")] = RESULTS,
) -> None:
    """Measure words per second of lemmatizers alone, on words of the test sets, half of them not
    in the training data. Add the accuracies, print a table, and store all of it in lemmas.json.
    """
    banks = treebank or sorted(path.name for path in (LEMMATIZER / "metrics").glob("*"))
    if not banks:
        msg.fail(f"{LEMMATIZER} has no metrics", "Run `train` and `evaluate` there.", exits=1)
    metrics = {(bank, name): find_metrics(bank, name) for bank in banks for name in names}
    models = {
        (bank, name): LEMMATIZER / "training" / bank / f"{name}_0" / "model-best"
        for bank, name in metrics
    }
    for path in models.values():
        if not path.exists():
            msg.fail(f"There is no {path}", "Run `train` there, with seed 0 too.", exits=1)
    commit, dirty = get_commit()
    result: dict[str, Any] = {
        "commit": commit,
        "dirty": dirty,
        "date": now(),
        "machine": get_machine(),
        "versions": get_versions(),
        "settings": {"repeats": repeats, "limit": limit},
        "treebanks": {},
    }
    for bank in banks:
        train, test = (
            read_words(LEMMATIZER / "corpus" / bank / f"{part}.spacy") for part in ("train", "test")
        )
        texts = take_half_new(test[: limit or None], {word for words in train for word in words})
        speeds = time_lemmatizers({name: models[bank, name] for name in names}, texts, repeats)
        result["treebanks"][bank] = {
            name: {**average(metrics[bank, name]), **speeds[name]} for name in names
        }
    write_json(results / "lemmas.json", result)
    for bank, systems in result["treebanks"].items():
        print(f"\n{make_lemma_table(bank, systems)}")


def find_metrics(treebank: str, name: str) -> list[dict[str, Any]]:
    """RETURNS (list[dict]): What `evaluate` measured on the test set, for each seed."""
    paths = sorted((LEMMATIZER / "metrics" / treebank).glob(f"{name}_[0-9]*_test.json"))
    if not paths:
        msg.fail(f"{LEMMATIZER} has no metrics of {name} on {treebank}", "Evaluate it.", exits=1)
    return [srsly.read_json(path) for path in paths]  # type: ignore[misc]


def average(metrics: list[dict[str, Any]]) -> dict[str, Any]:
    """RETURNS (dict): The means over seeds, with predicted and with gold tags, their range, and how
    many seeds there are.
    """
    summary: dict[str, Any] = {"seeds": len(metrics)}
    for tags in ("predicted tags", "gold tags"):
        values = {kind: [each[tags][kind] for each in metrics] for kind in KINDS}
        summary[tags] = {kind: statistics.mean(found) for kind, found in values.items()}
        summary[f"{tags}, range"] = {
            kind: [min(found), max(found)] for kind, found in values.items()
        }
    return summary


def read_words(path: Path) -> list[list[str]]:
    """RETURNS (list[list[str]]): The words of each Doc."""
    return [[token.text for token in doc] for doc in DocBin().from_disk(path).get_docs(Vocab())]


def take_half_new(texts: list[list[str]], known: Container[str], seed: int = 0) -> list[list[str]]:
    """Leave out known words at random, so that half of those that stay are new.

    texts (list[list[str]]): The words of each text.
    known (Container[str]): The words that are not new.
    seed (int): For the choice.
    RETURNS (list[list[str]]): The new words of each text that has some, and as many known ones if
        there are so many.
    """
    rng = random.Random(seed)
    taken = []
    for words in texts:
        new = [i for i, word in enumerate(words) if word not in known]
        old = [i for i, word in enumerate(words) if word in known]
        places = new + rng.sample(old, min(len(new), len(old)))
        taken.append([words[i] for i in sorted(places)])
    return [words for words in taken if words]


def time_lemmatizers(
    paths: dict[str, Path], texts: list[list[str]], repeats: int
) -> dict[str, dict[str, Any]]:
    """Time the lemmatizers of pipelines, loaded again for each repeat: on Docs that the components
    before have processed, and again on the same words.

    paths (dict[str, Path]): The pipelines.
    texts (list[list[str]]): The words of each Doc.
    repeats (int): How many times to measure.
    RETURNS (dict[str, dict]): Words per second of each, "cold" and "warm".
    """
    n_words = sum(map(len, texts))
    warm_up = [text.split() for text in make_new_texts(WARM_UP_TEXTS)]
    loaded: dict[str, Language] = {}

    def run_cold(name: str) -> float:
        loaded[name] = spacy.load(paths[name])
        time_lemmatizer(loaded[name], warm_up)
        return n_words / time_lemmatizer(loaded[name], texts)

    def run_warm(name: str) -> float:
        return n_words / time_lemmatizer(loaded[name], texts)

    tasks: dict[Any, Callable[[], float]] = {}
    for name in paths:
        tasks[name, "cold"] = partial(run_cold, name)
        tasks[name, "warm"] = partial(run_warm, name)
    values = take_turns("Lemmatizers", tasks, repeats)
    return {name: {key: values[name, key] for key in ("cold", "warm")} for name in paths}


def time_lemmatizer(nlp: Language, texts: Sequence[list[str]]) -> float:
    """RETURNS (float): The seconds that the lemmatizer takes for texts, after the components before
    it.
    """
    names = nlp.pipe_names
    place = ["token.lemma" in nlp.get_pipe_meta(name).assigns for name in names].index(True)
    docs = [Doc(nlp.vocab, words=words) for words in texts]
    for name in names[:place]:
        docs = list(nlp.get_pipe(name).pipe(docs, batch_size=BATCH_SIZE))  # type: ignore[attr-defined]
    component = nlp.get_pipe(names[place])
    start = time.perf_counter()
    for _ in component.pipe(docs, batch_size=BATCH_SIZE):  # type: ignore[attr-defined]
        pass
    return time.perf_counter() - start


def make_lemma_table(treebank: str, systems: dict[str, Any]) -> str:
    """RETURNS (str): The measurements in Markdown, a column for each system."""
    rows = {"seeds": [str(each["seeds"]) for each in systems.values()]}
    for tags in ("predicted tags", "gold tags"):
        for kind, title in KINDS.items():
            accuracies = [f"{100 * each[tags][kind]:.2f}" for each in systems.values()]
            rows[f"{title}, {tags}"] = accuracies
    for key, title in {"cold": "words/s, cold", "warm": "words/s, warm"}.items():
        rows[title] = [f"{each[key]['median']:,.0f}" for each in systems.values()]
    return make_table([treebank, *systems], [[title, *cells] for title, cells in rows.items()])


if __name__ == "__main__":
    typer.run(lemmas_cli)
