"""Make the table and the charts from all stored accuracies and the newest measurements of speed."""

import statistics
from pathlib import Path
from typing import Annotated, Any

import typer
from results import RESULTS, Accuracy, load_accuracies, load_newest_speed, write_json
from runtime_report import load_runtimes, make_section
from systems import SYSTEMS, get_systems
from tasks import TASKS
from wasabi import msg

app = typer.Typer(add_completion=False)

MEASURES = {
    "inference": "Inference, words/s",
    "first_pass": "First pass, words/s",
    "training": "Training, words/s",
    "latency_ms": "One text of 20 tokens, ms",
    "latency_new_ms": "All words new, ms",
    "memory_mb": "Peak memory, MB",
}


@app.command()
def report_cli(
    results: Annotated[Path, typer.Option(help="Directory of results")] = RESULTS,
) -> None:
    """Write table.md, table.json, a chart for each task and one of the calibration."""
    accuracies = load_accuracies(results)
    report = {
        name: make_report(name, accuracies, load_newest_speed(name, results)) for name in TASKS
    }
    report = {name: part for name, part in report.items() if part["systems"]}
    runtimes = load_runtimes(results)
    if not report and not runtimes:
        msg.fail(f"There are no results in {results}", "Run the other commands first.", exits=1)
    write_json(results / "table.json", {**report, "deployment": {"systems": runtimes}})
    markdown = "\n\n".join([make_markdown(report).rstrip(), *make_section(runtimes)]) + "\n"
    (results / "table.md").write_text(markdown, encoding="utf8")
    try:
        from chart import draw_calibration, draw_chart
    except ImportError:
        msg.fail("The charts need matplotlib", "pip install 'spacy-rnn[bench]'", exits=1)
    for name, part in report.items():
        draw_chart(part["systems"], TASKS[name], results / f"{name}.png")
        for row in part["systems"]:
            curves = {
                TASKS[name].corpora[corpus]: accuracy["calibration"]
                for corpus, accuracy in row["accuracy"].items()
                if accuracy["calibration"]
            }
            if curves:
                draw_calibration(row["title"], curves, results / f"{row['system']}_calibration.png")
    msg.good(f"table.md, table.json and the charts are in {results.name}/")


def make_report(
    task: str, accuracies: list[Accuracy], speed: dict[str, Any] | None
) -> dict[str, Any]:
    """Put the results of a task's systems together.

    task (str): The name of the task.
    accuracies (list[Accuracy]): The trainings of all tasks, the oldest first: of several with the
        same system, corpus and seed the last one counts, and only those with the last one's
        language model.
    speed (dict[str, Any] | None): What speed.py measured.
    RETURNS (dict[str, Any]): The rows ("systems"), of those systems that there are results of, and
        besides them what holds for all.
    """
    timed = speed["systems"] if speed else {}
    bilms = {(each.system, each.corpus): each.bilm for each in accuracies}
    newest = {
        (each.system, each.corpus, each.seed): each
        for each in accuracies
        if each.bilm == bilms[each.system, each.corpus]
    }
    rows = []
    for name in get_systems(task):
        trainings: dict[str, list[Accuracy]] = {corpus: [] for corpus in TASKS[task].corpora}
        for (system, corpus, _), each in newest.items():
            if system == name and corpus in trainings:
                trainings[corpus].append(each)
        row = {
            "system": name,
            "title": SYSTEMS[name].title,
            "is_ours": SYSTEMS[name].is_ours,
            "speed": summarize_speed(timed[name]) if name in timed else None,
            "accuracy": {
                corpus: summarize_accuracy(found) for corpus, found in trainings.items() if found
            },
        }
        if row["speed"] or row["accuracy"]:
            rows.append(row)
    by_name = {row["system"]: row for row in rows}
    for row in rows:
        row["ratios"] = {
            label: compare(row, by_name[reference])
            for reference, label in TASKS[task].references.items()
            if reference in by_name
        }
    report: dict[str, Any] = {"systems": rows, "speed": None, "encoder": None}
    if speed:
        keys = ("commit", "dirty", "date", "machine", "versions", "settings", "tokenizer")
        report["speed"] = {key: speed[key] for key in keys}
        report["encoder"] = speed.get("encoder")
    return report


def summarize_speed(timed: dict[str, Any]) -> dict[str, Any]:
    """Get the numbers of the table from what was measured of a system."""
    return {
        "inference": timed["inference"]["best"],
        "best_batch_size": timed["inference"]["best_batch_size"],
        "share_at_64": timed["inference"]["share_at_64"],
        "first_pass": timed["inference"]["first_pass"],
        "training": timed["training"]["median"],
        "latency_ms": timed["latency_ms"],
        "latency_new_ms": timed["latency_new_ms"],
        "memory_mb": timed["memory_mb"]["peak"],
        "memory_import_mb": timed["memory_mb"]["import"],
    }


def summarize_accuracy(results: list[Accuracy]) -> dict[str, Any]:
    """Get mean, least and greatest of a system's trainings on a corpus, one a seed."""
    summary: dict[str, Any] = {
        "n": len(results),
        "seeds": sorted(result.seed for result in results),
        "commits": sorted({result.commit for result in results}),
        "dirty": any(result.dirty for result in results),
        "minutes": round(statistics.mean(result.seconds for result in results) / 60, 1),
        "calibration": average_calibration(
            [
                result.calibration
                for result in results
                # Without a predicted entity, there is no error.
                if result.calibration and result.calibration["ece"] is not None
            ]
        ),
    }
    # The number of the seed is that of the fold, if there are folds.
    summary["test_by_fold"] = {
        str(result.seed): round(100 * result.scores["test"], 2) for result in results
    }
    for part in ("dev", "test"):
        values = [100 * result.scores[part] for result in results]
        mean = statistics.mean(values)
        summary[part] = {
            key: round(value, 2)
            for key, value in (("mean", mean), ("min", min(values)), ("max", max(values)))
        }
    return summary


def average_calibration(results: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Put the calibrations of several seeds together.

    results (list[dict[str, Any]]): The calibrations, each with its "ece" and "bins".
    RETURNS (dict[str, Any] | None): The errors of all seeds ("ece"), and the bins of all their
        predictions together ("bins").
    """
    if not results:
        return None
    bins = []
    for parts in zip(*(result["bins"] for result in results), strict=True):
        n = sum(part["n"] for part in parts)
        means = {
            key: round(sum(part["n"] * part[key] for part in parts) / max(n, 1), 3)
            for key in ("mean", "right")
        }
        bins.append({"n": n, **means})
    return {"ece": [result["ece"] for result in results], "bins": bins}


def compare(row: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Divide a system's measures by another's; of accuracy on test, take the difference of
    the means, or where there are folds the mean difference of those that both have.
    """
    result: dict[str, Any] = {}
    if row["speed"] and reference["speed"]:
        for key in MEASURES:
            result[key] = round(row["speed"][key] / reference["speed"][key], 2)
    for corpus, accuracy in row["accuracy"].items():
        theirs = reference["accuracy"].get(corpus)
        if theirs is None:
            continue
        difference = accuracy["test"]["mean"] - theirs["test"]["mean"]
        if is_folded(corpus):
            pairs = [
                (value, theirs["test_by_fold"][fold])
                for fold, value in accuracy["test_by_fold"].items()
                if fold in theirs["test_by_fold"]
            ]
            if not pairs:
                continue
            difference = statistics.mean(ours - other for ours, other in pairs)
        result.setdefault("test_difference", {})[corpus] = round(difference, 2)
    return result


def is_folded(corpus: str) -> bool:
    """Whether a corpus is for cross-validation."""
    return any(corpus in task.folds for task in TASKS.values())


def make_markdown(report: dict[str, Any]) -> str:
    """Write the report as Markdown."""
    parts = ["# Benchmark"]
    for name, part in report.items():
        parts.append(f"## {TASKS[name].title}")
        if part["speed"]:
            parts += _speed_section(name, part)
        parts += _accuracy_section(name, part)
        if part["encoder"]:
            parts += _encoder_section(part["encoder"])
    return "\n\n".join(parts) + "\n"


def _speed_section(name: str, part: dict[str, Any]) -> list[str]:
    head = ["System", *MEASURES.values(), "Batch size", "At 64"]
    rows = [_measures(name, row) for row in part["systems"] if row["speed"]]
    references = " / to ".join(f"{label}'s" for label in TASKS[name].references.values())
    speed = part["speed"]
    machine, settings, tokenizer = speed["machine"], speed["settings"], speed["tokenizer"]
    versions = ", ".join(f"{name} {version}" for name, version in speed["versions"].items())
    return [
        make_table(head, rows),
        f"In brackets: the ratio to {references}; 2x128 is two layers of 128 units a direction. "
        "Inference is the whole pipeline from text, at the best "
        "batch size of 64, 256, 1024 and 4096, and repeated, so that what a pipeline keeps of "
        "a text it has seen helps; the first pass, measured once, starts cold. `At 64` is what "
        "batch size 64 reaches of the best. The latency is of single texts, of which the words "
        "were seen before, or none of them. Training is a whole step of spaCy's training loop, "
        "the same batches of about 1000 words and the same optimizer for all. Peak memory "
        "includes Python, spaCy and PyTorch.",
        f"Speed: one run, the systems taking turns, medians of {settings['repeats']} (latency: of "
        f"{settings['calls']} calls), on {machine['cores']} cores of {machine['cpu']} "
        f"({machine['instructions']}), {machine['torch_threads']} threads of PyTorch's, "
        f"{machine['system']}; {versions}; commit "
        f"{speed['commit']}{' with uncommitted changes' if speed['dirty'] else ''}, "
        f"{speed['date']} UTC. {settings['texts']:,} texts of {tokenizer['words']:,} tokens; "
        f"the tokenizer alone reaches {tokenizer['median']:,.0f} words/s.",
    ]


def _measures(name: str, row: dict[str, Any]) -> list[str]:
    speed = row["speed"]
    cells = []
    for key in MEASURES:
        value = f"{speed[key]:.2f}" if key.startswith("latency") else f"{speed[key]:,.0f}"
        labels = TASKS[name].references.values()
        ratios = [f"{row['ratios'].get(label, {}).get(key, float('nan')):.2f}" for label in labels]
        cells.append(f"{value} ({' / '.join(ratios)})")
    return [_title(row), *cells, str(speed["best_batch_size"]), f"{speed['share_at_64']:.0%}"]


def _title(row: dict[str, Any]) -> str:
    return f"**{row['title']}**" if row["is_ours"] else row["title"]


def _accuracy_section(name: str, part: dict[str, Any]) -> list[str]:
    task = TASKS[name]
    head = ["System", "Corpus", f"{task.score_title} test, %", f"{task.score_title} dev, %"]
    head += ["Trainings", "Training, min", *(["Calibration error"] if task.calibration else [])]
    rows, commits, dirty = [], set(), False
    for corpus, title in task.corpora.items():
        for row in part["systems"]:
            if corpus not in row["accuracy"]:
                continue
            accuracy = row["accuracy"][corpus]
            commits |= set(accuracy["commits"])
            dirty |= accuracy["dirty"]
            cells = [_title(row), title, *(_spread(accuracy, part) for part in ("test", "dev"))]
            cells += [str(accuracy["n"]), f"{accuracy['minutes']:.1f}"]
            if task.calibration:
                errors = (accuracy["calibration"] or {}).get("ece")
                cells.append(f"{statistics.mean(errors):.3f}" if errors else "-")
            rows.append(cells)
    if not rows:
        return []
    changed = "; some with uncommitted changes" if dirty else ""
    text = (
        "Accuracy: mean (min-max) of several trainings, tokens as in the data. Ours is "
        f"configs/{task.ours.name}, but for what a title says; spaCy's are default models, its "
        "recommended [training]. "
        f"Trainings are from commit {', '.join(sorted(commits))}{changed}."
    )
    if task.calibration:
        text += (
            " The calibration error is the expected one of ten bins, on test: how far "
            "the probabilities are from how often they are right, the mean of the seeds."
        )
    return [make_table(head, rows), f"{text} {task.note}".strip()]


def _spread(accuracy: dict[str, Any], part: str) -> str:
    values = accuracy[part]
    spread = f" ({values['min']:.2f}-{values['max']:.2f})" if accuracy["n"] > 1 else ""
    return f"{values['mean']:.2f}{spread}"


def _encoder_section(encoder: dict[str, Any]) -> list[str]:
    head = ["Encoder", "Input width", "FLOPs a word", "GFLOP/s", "Words/s"]
    rows = [
        [
            each["title"],
            str(each["input_width"]),
            f"{each['flops_per_word']:,}",
            f"{each['gflops']['median']:.1f}",
            f"{each['words_per_second']:,}",
            f"{each['share']:.0%}",
            f"{each['share_of_neighbours']:.0%}",
        ]
        for each in encoder["encoders"]
    ]
    return [
        "### The encoder alone, as a share of peak",
        make_table([*head, "Share of peak", "Of the products beside"], rows),
        f"Inference in single precision. Lengths: the {encoder['sentences']:,} sentences of the "
        f"test data in the order of the file, {encoder['words']:,} words, the longest "
        f"{encoder['longest']}, all as one batch; a list of arrays goes in and comes out. FLOPs "
        "that count: the matrix products of real words, summed over layers and both directions: "
        "2·G·H·(I+H) a word, with I inputs, H units and G = 4 gates (LSTM) or 3 (GRU). Padding, "
        f"activations, sorting and copying count nothing. Peak: {encoder['peak']:,.1f} GFLOP/s, "
        "the best product of 2048x2048 matrices in PyTorch among those measured right before and "
        "after each encoder in the same process; the last column is the median share of just "
        "those two. Padded, torch's backward direction reads padding, so that its output depends "
        "on the batch.",
    ]


def make_table(head: list[str], rows: list[list[str]]) -> str:
    """Write a Markdown table. All columns but the first are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


if __name__ == "__main__":
    app()
