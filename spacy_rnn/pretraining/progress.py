"""What pretraining shows while it runs."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import srsly
from tqdm import tqdm
from wasabi import msg

from .settings import LMSettings
from .vocabulary import Counts

_HEADER = ("Step", "Epoch", "Train ppl", "Dev ppl", "Words/s")
_WIDTHS = (8, 6, 16, 16, 9)


class Progress:
    """Show how far a run is, with the words per second and the time that is left.

    silent (bool): Whether to show nothing: one of several processes speaks.
    """

    def __init__(self, *, silent: bool = False):
        self._silent = silent
        self._bar: tqdm | None = None

    def show_counting(self, texts: Iterable[list[str]]) -> Iterator[list[str]]:
        """Show the number of words while texts pass."""
        with self._make_bar("Counting words", None) as bar:
            for words in texts:
                bar.update(len(words))
                yield words

    def warn(self, text: str) -> None:
        """Show a warning."""
        if not self._silent:
            msg.warn(text)

    def start(self, step: int, last_step: int | None, counts: Counts, settings: LMSettings) -> None:
        """Show what is going to be done.

        step (int): The updates so far.
        last_step (Optional[int]): The updates at the end, if that is known.
        counts (Counts): The texts.
        settings (LMSettings): The settings.
        """
        if self._silent:
            return
        msg.info(
            f"{counts.n_words:,} words in {counts.n_texts:,} texts, {len(counts.vocabulary):,} in "
            f"the vocabulary"
        )
        if step:
            msg.info(f"Going on after step {step}")
        msg.row(_HEADER, widths=_WIDTHS)
        per_batch = settings.n_rows * settings.n_steps
        total = None if last_step is None else last_step * per_batch
        self._bar = self._make_bar("Pretraining", total, initial=step * per_batch)

    def update(self, n_words: int) -> None:
        """Count words."""
        if self._bar is not None:
            self._bar.update(n_words)

    def show(self, record: dict[str, Any]) -> None:
        """Show a line of the log."""
        if self._silent:
            return
        train, dev = (
            " / ".join(f"{value:.1f}" for value in record[f"{name}_perplexity"])
            for name in ("train", "dev")
        )
        row = (record["step"], record["epoch"], train, dev, record["words_per_second"])
        with tqdm.external_write_mode():
            msg.row(row, widths=_WIDTHS)

    def finish(self, log: Path) -> None:
        """Draw the curves of a log.

        log (Path): The log.
        """
        if self._bar is not None:
            self._bar.close()
        if self._silent or not log.is_file():
            return
        path = log.with_name("curves.png")
        if draw_curves(list(srsly.read_jsonl(log)), path):
            msg.good(f"Drew the curves: {path}")
        else:
            msg.warn("Install matplotlib to have the curves drawn.")

    def _make_bar(self, title: str, total: int | None, initial: int = 0) -> tqdm:
        return tqdm(
            desc=title,
            total=total,
            initial=initial,
            unit=" words",
            unit_scale=True,
            disable=self._silent,
            leave=False,
        )


def draw_curves(records: list[dict[str, Any]], path: Path) -> bool:
    """Draw perplexities over words read.

    records (List[Dict[str, Any]]): The lines of a log.
    path (Path): Where to put the picture.
    RETURNS (bool): Whether it was drawn, which needs matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, style in (("train", "--"), ("dev", "-")):
        for i, direction in enumerate(("forward", "backward")):
            points = [
                (record["words"] / 1e6, values[i])
                for record in records
                if len(values := record[f"{name}_perplexity"]) > i
            ]
            if points:
                label = f"{direction}, {name}"
                axes.plot(*zip(*points, strict=True), style, color=f"C{i}", label=label)
    axes.set(xlabel="Words read (millions)", ylabel="Perplexity", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=150)
    return True
