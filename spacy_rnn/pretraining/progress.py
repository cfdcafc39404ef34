"""Progress of pretraining on the terminal, and learning curves."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import srsly
from tqdm import tqdm
from wasabi import Printer

_HEADER = ("Step", "Epoch", "Train ppl", "Dev ppl", "Words/s")
_WIDTHS = (8, 6, 16, 16, 9)


class Progress:
    """Show the progress of a run.

    silent (bool): Whether to show nothing.
    """

    def __init__(self, *, silent: bool = False):
        self.silent = silent
        self.msg = Printer(no_print=silent)
        self.bar = tqdm(disable=True)

    def show_counting(self, texts: Iterable[list[str]]) -> Iterator[list[str]]:
        """YIELDS (List[str]): The words of each text, while their number is shown."""
        with self._make_bar("Counting words") as bar:
            for words in texts:
                bar.update(len(words))
                yield words

    def start(self, n_words: int, total: int | None) -> None:
        """Start the progress bar and the table.

        n_words (int): The number of words so far.
        total (Optional[int]): The number of words at the end, if it is known.
        """
        self.msg.row(_HEADER, widths=_WIDTHS)
        self.bar = self._make_bar("Pretraining", initial=n_words, total=total)

    def show(self, record: dict[str, Any]) -> None:
        """Show a record of the log."""
        train, dev = (
            " / ".join(f"{value:.1f}" for value in record[f"{name}_perplexity"])
            for name in ("train", "dev")
        )
        row = (record["step"], record["epoch"], train, dev, record["words_per_second"])
        with tqdm.external_write_mode():
            self.msg.row(row, widths=_WIDTHS)

    def finish(self, log: Path) -> None:
        """Remove the progress bar, and draw learning curves beside the log."""
        self.bar.close()
        if self.silent or not log.is_file():
            return
        path = log.with_name("curves.png")
        if draw_curves(list(srsly.read_jsonl(log)), path):
            self.msg.good(f"Saved the learning curves: {path}")
        else:
            self.msg.warn("Install matplotlib to draw learning curves")

    def _make_bar(self, title: str, **options: Any) -> tqdm:
        options = {"unit": " words", "unit_scale": True, "leave": False, **options}
        return tqdm(desc=title, disable=self.silent, **options)


def draw_curves(records: list[dict[str, Any]], path: Path) -> bool:
    """Draw perplexity over the number of words read.

    records (List[Dict[str, Any]]): The records of a log.
    path (Path): The PNG file.
    RETURNS (bool): False if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, style in (("train", "--"), ("dev", "-")):
        for i, direction in enumerate(("forward", "backward")):
            key = f"{name}_perplexity"
            points = [(r["words"] / 1e6, r[key][i]) for r in records if len(r[key]) > i]
            if points:
                label = f"{direction}, {name}"
                axes.plot(*zip(*points, strict=True), style, color=f"C{i}", label=label)
    axes.set(xlabel="Words read (millions)", ylabel="Perplexity", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=150)
    return True
