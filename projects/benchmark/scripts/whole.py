"""Measure whole pipelines, which the project `pipeline` trained and evaluated, in one run."""

from pathlib import Path
from typing import Annotated, Any

import spacy
import srsly
import typer
from data import read_texts
from report import make_table
from results import RESULTS, get_commit, get_machine, get_versions, now, write_json
from tasks import TASKS
from timing import LATENCY_TOKENS, measure_memory, time_inference, time_latency
from wasabi import msg

PIPELINE = Path(__file__).resolve().parents[2] / "pipeline"
# Scores of the shared task, and what they are called
METRICS = ["UAS", "LAS", "XPOS", "UPOS", "UFeats", "Lemmas"]


def whole_cli(
    names: Annotated[list[str], typer.Argument(help="NAME_SEED of each pipeline, ours first")],
    treebank: Annotated[str, typer.Option(help="What they were trained on")] = "ud_en_ewt",
    repeats: Annotated[int, typer.Option(help="How many times to measure")] = 5,
    calls: Annotated[int, typer.Option(help="The same for the latency")] = 200,
    limit: Annotated[int, typer.Option(help="How many texts to take, 0 for all")] = 0,
    results: Annotated[Path, typer.Option(help="Directory of results")] = RESULTS,
) -> None:
    """Measure words per second, the latency of texts with 20 tokens and the peak of the memory. Add
    the scores on the test set, print a table, and store all of it in whole.json.
    """
    paths = {name: PIPELINE / "training" / treebank / name / "model-best" for name in names}
    metrics = PIPELINE / "metrics" / treebank
    for path in [*paths.values(), *(metrics / name / "scores.json" for name in names)]:
        if not path.exists():
            msg.fail(f"There is no {path}", "Run `train` and `evaluate` there.", exits=1)
    files = list(TASKS["tagger"].texts)
    texts = read_texts(files)[: limit or None]
    pipelines = {name: spacy.load(path) for name, path in paths.items()}
    inference, tokenizer = time_inference(pipelines, texts, repeats)
    tokenize = spacy.blank("en").tokenizer
    short = [text for text in texts if len(tokenize(text)) == LATENCY_TOKENS] or texts[:1]
    latency = time_latency(pipelines, short, calls)
    best = {name: value["best_batch_size"] for name, value in inference.items()}
    memory = measure_memory(paths, best, files, limit)
    commit, dirty = get_commit()
    systems = {
        name: {
            "pipe_names": pipelines[name].pipe_names,
            "inference": inference[name],
            "latency_ms": latency[name],
            "memory_mb": memory[name],
            "size_mb": measure_size(path),
            "scores": srsly.read_json(metrics / name / "scores.json"),
            "ents_f": srsly.read_json(metrics / f"{name}.json").get("ents_f"),
        }
        for name, path in paths.items()
    }
    result = {
        "treebank": treebank,
        "commit": commit,
        "dirty": dirty,
        "date": now(),
        "machine": get_machine(),
        "versions": get_versions(),
        "settings": {"repeats": repeats, "calls": calls, "texts": len(texts)},
        "tokenizer": tokenizer,
        "systems": systems,
    }
    write_json(results / "whole.json", result)
    print(make_whole_table(systems))


def measure_size(path: Path) -> float:
    """RETURNS (float): The size of all files in a directory, in megabytes."""
    n_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return round(n_bytes / 1e6, 1)


def make_whole_table(systems: dict[str, Any]) -> str:
    """RETURNS (str): The measurements in Markdown, a column for each system."""
    first = next(iter(systems.values()))["inference"]["best"]
    rows = {
        "words/s from text": lambda x: f"{x['inference']['best']:,.0f}",
        "the first is faster by": lambda x: f"{first / x['inference']['best']:.2f}",
        "ms for a text of 20 tokens": lambda x: f"{x['latency_ms']:.1f}",
        "peak memory, MB": lambda x: f"{x['memory_mb']['peak']:.0f}",
        "on disk, MB": lambda x: f"{x['size_mb']:.1f}",
    }
    for part, title in {"gold": "gold tokens", "raw": "raw text"}.items():
        for metric in METRICS:
            rows[f"{metric}, {title}"] = _get_score(part, metric)
    rows["entities, gold tokens"] = lambda x: "" if not x["ents_f"] else f"{100 * x['ents_f']:.2f}"
    cells = [[title, *(get(system) for system in systems.values())] for title, get in rows.items()]
    return make_table(["test set", *systems], cells)


def _get_score(part: str, metric: str) -> Any:
    return lambda system: f"{100 * system['scores'][part][metric]:.2f}"


if __name__ == "__main__":
    typer.run(whole_cli)
