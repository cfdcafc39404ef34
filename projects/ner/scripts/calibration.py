"""Hold the probabilities of predicted entities against how often they are right."""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy
import spacy
import typer
from spacy.tokens import Doc, DocBin
from wasabi import msg

N_BINS = 10

app = typer.Typer(add_completion=False)


@app.command()
def calibration_cli(
    model: Annotated[Path, typer.Argument(help="A pipeline with rnn_ner")],
    corpus: Annotated[Path, typer.Argument(help="A .spacy file with entities")],
    output: Annotated[Path, typer.Argument(help="The JSON file to write")],
    spans_key: Annotated[str, typer.Option(help="Where in doc.spans the entities are")] = "rnn_ner",
) -> None:
    """Compute the expected calibration error of a pipeline's entities, and a table of bins."""
    nlp = spacy.load(model)
    probs, right = collect(nlp, list(DocBin().from_disk(corpus).get_docs(nlp.vocab)), spans_key)
    result = calibrate(probs, right)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf8")
    if not len(probs):
        msg.warn(f"{model} predicts no entities in {corpus}: there is nothing to calibrate")
        return
    rows = [
        (f"{i / N_BINS:.1f}-{(i + 1) / N_BINS:.1f}", b["n"], b["mean"], b["right"])
        for i, b in enumerate(result["bins"])
    ]
    msg.table(rows, header=("Probability", "Entities", "Mean", "Right"), divider=True)
    msg.good(f"Expected calibration error {result['ece']:.3f} of {len(probs)} entities")


def collect(
    nlp: spacy.Language, gold: list[Doc], spans_key: str
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Predict entities, and see which are right: the same span with the same label.

    nlp (Language): The pipeline.
    gold (list[Doc]): Docs with entities.
    spans_key (str): Where in `doc.spans` the entities are with their probabilities.
    RETURNS (tuple[ndarray, ndarray]): The probabilities, and whether each entity is right. (n,)
    """
    probs: list[float] = []
    right: list[bool] = []
    docs = (Doc(nlp.vocab, words=[token.text for token in doc]) for doc in gold)
    for doc, reference in zip(nlp.pipe(docs), gold, strict=True):
        known = {(ent.start, ent.end, ent.label_) for ent in reference.ents}
        group = doc.spans[spans_key]
        right += [(span.start, span.end, span.label_) in known for span in group]
        probs += group.attrs["scores"].tolist()
    return numpy.asarray(probs), numpy.asarray(right, dtype=bool)


def calibrate(probs: numpy.ndarray, right: numpy.ndarray) -> dict[str, Any]:
    """Compute the expected calibration error (Naeini et al. 2015) with bins of equal width: the
    mean, over entities, of the difference between a bin's mean probability and its share of
    right ones.

    probs (ndarray): The probabilities. (n,)
    right (ndarray): Whether each entity is right. (n,)
    RETURNS (dict[str, Any]): The error ("ece"), and for each of the "bins" its number ("n"),
        "mean" probability and share of "right" ones. Without entities the error is None.
    """
    numbers = numpy.minimum((probs * N_BINS).astype(int), N_BINS - 1)
    bins = []
    gaps = []
    for i in range(N_BINS):
        inside = numbers == i
        n = int(inside.sum())
        mean, share = (float(v[inside].mean()) if n else 0.0 for v in (probs, right))
        bins.append({"n": n, "mean": round(mean, 3), "right": round(share, 3)})
        gaps.append(n * abs(mean - share))
    error = round(sum(gaps) / len(probs), 4) if len(probs) else None
    return {"ece": error, "n": len(probs), "bins": bins}


if __name__ == "__main__":
    app()
