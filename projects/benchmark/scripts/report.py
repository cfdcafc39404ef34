"""Make the table and the chart from all stored accuracies and the newest measurement of speed."""

import statistics
from pathlib import Path
from typing import Annotated, Any

import typer
from results import RESULTS, Accuracy, load_accuracies, load_newest_speed, write_json
from systems import BILSTM, CNN, SYSTEMS
from wasabi import msg

app = typer.Typer(add_completion=False)

NAMES = {CNN: "cnn", BILSTM: "bilstm"}
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
    """Write table.md, table.json and chart.png."""
    report = make_report(load_accuracies(results), load_newest_speed(results))
    if not any(row["accuracy"] or row["speed"] for row in report["systems"]):
        msg.fail(f"There are no results in {results}", "Run the other commands first.", exits=1)
    write_json(results / "table.json", report)
    (results / "table.md").write_text(make_markdown(report), encoding="utf8")
    try:
        from chart import draw_chart
    except ImportError:
        msg.fail("The chart needs matplotlib", "pip install 'spacy-rnn[bench]'", exits=1)
    draw_chart(report["systems"], results / "chart.png")
    msg.good(f"table.md, table.json and chart.png are in {results.name}/")


def make_report(accuracies: list[Accuracy], speed: dict[str, Any] | None) -> dict[str, Any]:
    """Put the results of all systems together.

    accuracies (list[Accuracy]): The trainings, the oldest first: of several with the same
        system and seed the last one counts.
    speed (dict[str, Any] | None): What speed.py measured.
    RETURNS (dict[str, Any]): The rows ("systems"), and besides them what holds for all.
    """
    timed = speed["systems"] if speed else {}
    rows = []
    for name, system in SYSTEMS.items():
        trainings = {result.seed: result for result in accuracies if result.system == name}
        row = {
            "system": name,
            "title": system.title,
            "is_ours": system.is_ours,
            "speed": summarize_speed(timed[name]) if name in timed else None,
            "accuracy": summarize_accuracy(list(trainings.values())) if trainings else None,
        }
        rows.append(row)
    by_name = {row["system"]: row for row in rows}
    for row in rows:
        row["ratios"] = {
            label: compare(row, by_name[reference]) for reference, label in NAMES.items()
        }
    report: dict[str, Any] = {"systems": rows, "speed": None, "encoder": None}
    if speed:
        keys = ("commit", "dirty", "date", "machine", "versions", "settings", "tokenizer")
        report["speed"] = {key: speed[key] for key in keys}
        report["encoder"] = speed["encoder"]
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
    """Get mean, least and greatest of a system's trainings, one a seed."""
    summary: dict[str, Any] = {
        "n": len(results),
        "seeds": sorted(result.seed for result in results),
        "commits": sorted({result.commit for result in results}),
        "dirty": any(result.dirty for result in results),
        "minutes": round(statistics.mean(result.seconds for result in results) / 60, 1),
    }
    for part in ("dev", "test"):
        values = [100 * result.tag_acc[part] for result in results]
        mean = statistics.mean(values)
        summary[part] = {
            key: round(value, 2)
            for key, value in (("mean", mean), ("min", min(values)), ("max", max(values)))
        }
    return summary


def compare(row: dict[str, Any], reference: dict[str, Any]) -> dict[str, float]:
    """Divide a system's measures by another's; of accuracy on test, take the difference."""
    result = {}
    if row["speed"] and reference["speed"]:
        for key in MEASURES:
            result[key] = round(row["speed"][key] / reference["speed"][key], 2)
    if row["accuracy"] and reference["accuracy"]:
        means = [each["accuracy"]["test"]["mean"] for each in (row, reference)]
        result["test_difference"] = round(means[0] - means[1], 2)
    return result


def make_markdown(report: dict[str, Any]) -> str:
    """Write the report as Markdown."""
    head = ["System", *MEASURES.values(), "Batch size", "At 64", "XPOS test, %", "XPOS dev, %"]
    rows = [[*_measures(row), *_accuracies(row)] for row in report["systems"]]
    parts = ["# Benchmark", make_table([*head, "Seeds", "Training, min"], rows)]
    parts.append(
        "In brackets: the ratio to HashEmbedCNN's / to TorchBiLSTMEncoder 2x128's; 2x128 is two "
        "layers of 128 units a direction. Inference is the whole pipeline from text, at the best "
        "batch size of 64, 256, 1024 and 4096, and repeated, so that what a pipeline keeps of "
        "a text it has seen helps; the first pass, measured once, starts cold. `At 64` is what "
        "batch size 64 reaches of the best. The latency is of single texts, of which the words "
        "were seen before, or none of them. Training is a whole step of spaCy's training loop, "
        "the same batches of about 1000 words and the same optimizer for all. Peak memory "
        "includes Python, spaCy and PyTorch. Accuracy is on UD English-EWT, gold tokens: mean "
        "(min-max) of the seeds; ours with configs/tagger.cfg, spaCy's with the settings that "
        "spaCy recommends."
    )
    if report["speed"]:
        parts.append(_describe_run(report["speed"]))
    parts += _describe_trainings([row["accuracy"] for row in report["systems"] if row["accuracy"]])
    if report["encoder"]:
        parts += _encoder_section(report["encoder"])
    return "\n\n".join(parts) + "\n"


def _measures(row: dict[str, Any]) -> list[str]:
    title = f"**{row['title']}**" if row["is_ours"] else row["title"]
    speed = row["speed"]
    if not speed:
        return [title, *["-"] * (len(MEASURES) + 2)]
    cells = []
    for key in MEASURES:
        value = f"{speed[key]:.2f}" if key.startswith("latency") else f"{speed[key]:,.0f}"
        ratios = [f"{row['ratios'][name].get(key, float('nan')):.2f}" for name in NAMES.values()]
        cells.append(f"{value} ({' / '.join(ratios)})")
    return [title, *cells, str(speed["best_batch_size"]), f"{speed['share_at_64']:.0%}"]


def _accuracies(row: dict[str, Any]) -> list[str]:
    accuracy = row["accuracy"]
    if not accuracy:
        return ["-"] * 4
    cells = []
    for part in ("test", "dev"):
        values = accuracy[part]
        spread = f" ({values['min']:.2f}-{values['max']:.2f})" if accuracy["n"] > 1 else ""
        cells.append(f"{values['mean']:.2f}{spread}")
    return [*cells, str(accuracy["n"]), f"{accuracy['minutes']:.1f}"]


def _describe_run(speed: dict[str, Any]) -> str:
    machine, settings, tokenizer = speed["machine"], speed["settings"], speed["tokenizer"]
    versions = ", ".join(f"{name} {version}" for name, version in speed["versions"].items())
    return (
        f"Speed: one run, the systems taking turns, medians of {settings['repeats']} (latency: of "
        f"{settings['calls']} calls), on {machine['cores']} cores of {machine['cpu']} "
        f"({machine['instructions']}), {machine['torch_threads']} threads of PyTorch's, "
        f"{machine['system']}; {versions}; commit "
        f"{speed['commit']}{' with uncommitted changes' if speed['dirty'] else ''}, "
        f"{speed['date']} UTC. {settings['texts']:,} texts of {tokenizer['words']:,} tokens; "
        f"the tokenizer alone reaches {tokenizer['median']:,.0f} words/s."
    )


def _describe_trainings(accuracies: list[dict[str, Any]]) -> list[str]:
    commits = sorted({commit for accuracy in accuracies for commit in accuracy["commits"]})
    if not commits:
        return []
    changed = any(accuracy["dirty"] for accuracy in accuracies)
    note = "; some with uncommitted changes" if changed else ""
    return [f"Trainings are from commit {', '.join(commits)}{note}."]


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
        "## The encoder alone, as a share of peak",
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
