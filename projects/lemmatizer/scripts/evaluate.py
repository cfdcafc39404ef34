"""Evaluate the lemmas of a pipeline by whether their form was in the training data."""

import time
from collections import Counter
from pathlib import Path

import spacy
import srsly
import typer
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from wasabi import msg

# Settings of rnn_lemmatizer that show what its parts contribute.
PARTS = {
    "table and edit scripts": {"use_decoder": False},
    "table and decoder": {"use_edits": False},
    "edit scripts": {"use_table": False, "use_decoder": False},
    "decoder": {"use_table": False, "use_edits": False},
}


def evaluate_cli(
    model: str = typer.Argument(..., help="Pipeline with a lemmatizer: name or path"),
    train: Path = typer.Argument(..., help="The data that it was trained on", exists=True),
    test: Path = typer.Argument(..., help="The data to evaluate on", exists=True),
    output: Path | None = typer.Option(None, "--output", "-o", help="JSON file for the results"),
) -> None:
    """Print the accuracy of lemmas for seen and unseen forms: with predicted tags, with gold tags,
    and with parts of an rnn_lemmatizer turned off.
    """
    nlp = spacy.load(model)
    docs = read_docs(nlp, test)
    seen = {token.text for doc in read_docs(nlp, train) for token in doc}
    results = {"predicted tags": evaluate(nlp, docs, seen)}
    results["gold tags"] = evaluate(nlp, docs, seen, gold_tags=True)
    for name in nlp.pipe_names:
        if nlp.get_pipe_meta(name).factory == "rnn_lemmatizer":
            results |= evaluate_parts(nlp, name, docs, seen)
    rows = [
        (name, *(f"{100 * result[key]:.2f}" for key in ("all", "seen", "unseen")))
        for name, result in results.items()
    ]
    header = ("", "All forms", "Seen", "Unseen")
    msg.table(rows, header=header, divider=True, aligns=("l", "r", "r", "r"))
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        srsly.write_json(output, results)


def read_docs(nlp: Language, path: Path) -> list[Doc]:
    """RETURNS (List[Doc]): The Docs of a .spacy file."""
    return list(DocBin().from_disk(path).get_docs(nlp.vocab))


def evaluate_parts(nlp: Language, name: str, docs: list[Doc], seen: set[str]) -> dict:
    """RETURNS (Dict[str, Dict[str, float]]): The accuracy with parts of it turned off."""
    pipe = nlp.get_pipe(name)
    trained = {key: getattr(pipe, key) for key in ("use_table", "use_edits", "use_decoder")}
    results = {}
    for part, settings in PARTS.items():
        for key, value in {**trained, **settings}.items():
            setattr(pipe, key, value)
        results[part] = evaluate(nlp, docs, seen)
    for key, value in trained.items():
        setattr(pipe, key, value)
    return results


def evaluate(nlp: Language, docs: list[Doc], seen: set[str], gold_tags: bool = False) -> dict:
    """Measure the accuracy of lemmas. Tokens without a gold lemma do not count.

    nlp (Language): The pipeline.
    docs (List[Doc]): The gold Docs.
    seen (Set[str]): The forms of the training data.
    gold_tags (bool): Whether to give the pipeline gold parts of speech and features. Components
        that set these are disabled then.
    RETURNS (Dict[str, float]): The accuracy for all forms, for seen and for unseen ones, the share
        of unseen ones, and the time in seconds.
    """
    taggers = [name for name in nlp.pipe_names if "token.pos" in nlp.get_pipe_meta(name).assigns]
    blank = [make_blank(nlp, doc, gold_tags) for doc in docs]
    right, total = Counter[str](), Counter[str]()
    with nlp.select_pipes(disable=taggers if gold_tags else []):
        start = time.perf_counter()
        predicted = list(nlp.pipe(blank))
        seconds = time.perf_counter() - start
    for found, gold in zip(predicted, docs, strict=True):
        for token, expected in zip(found, gold, strict=True):
            if expected.lemma_:
                for kind in ("all", "seen" if token.text in seen else "unseen"):
                    total[kind] += 1
                    right[kind] += token.lemma_ == expected.lemma_
    result = {kind: right[kind] / max(total[kind], 1) for kind in ("all", "seen", "unseen")}
    share = total["unseen"] / max(total["all"], 1)
    return {**result, "share_unseen": share, "seconds": seconds}


def make_blank(nlp: Language, doc: Doc, gold_tags: bool) -> Doc:
    """RETURNS (Doc): The words of a Doc, and its parts of speech and features if asked for."""
    words = [token.text for token in doc]
    if not gold_tags:
        return Doc(nlp.vocab, words=words)
    pos, morphs = [token.pos_ for token in doc], [str(token.morph) for token in doc]
    return Doc(nlp.vocab, words=words, pos=pos, morphs=morphs)


if __name__ == "__main__":
    typer.run(evaluate_cli)
