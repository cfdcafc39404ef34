"""Evaluate a pipeline from gold tokens and from raw text, with the scorer of the CoNLL 2018 task.

`spacy evaluate` leaves punctuation out of the scores of trees, and the parser may split a gold
sentence. Here all words count. With gold tokens, each Doc is one sentence. Its sentence starts are
set before the pipeline runs, and the parser keeps them.
"""

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import spacy
import srsly
import typer
from spacy.language import Language
from spacy.tokens import Doc, Span
from udtools.udeval import evaluate, load_conllu
from wasabi import msg

METRICS = ["Tokens", "Sentences", "Words", "UPOS", "XPOS", "UFeats", "Lemmas"]
METRICS += ["UAS", "LAS", "MLAS", "BLEX"]
TEXT = "# text = "


def evaluate_cli(
    pipeline: Annotated[str, typer.Argument(help="Pipeline: name or path")],
    treebank: Annotated[Path, typer.Argument(help="CoNLL-U file with gold annotation")],
    output: Annotated[Path, typer.Argument(help="Directory for scores and predictions")],
) -> None:
    """Evaluate a pipeline from gold tokens and from raw text."""
    nlp = spacy.load(pipeline)
    lines = treebank.read_text(encoding="utf8").split("\n")
    predicted = {"gold": annotate_gold_tokens(nlp, lines), "raw": annotate_texts(nlp, lines)}
    output.mkdir(parents=True, exist_ok=True)
    scores = {}
    for name, conllu in predicted.items():
        (output / f"{name}.conllu").write_text(conllu, encoding="utf8")
        scores[name] = score("\n".join(lines), conllu)
    srsly.write_json(output / "scores.json", scores)
    rows = [(key, *(f"{100 * scores[name][key]:.2f}" for name in scores)) for key in METRICS]
    msg.table(rows, header=("F1", "gold tokens", "raw text"), divider=True, aligns=("l", "r", "r"))
    msg.good(f"Scores and predictions: {output}")


def score(gold: str, predicted: str) -> dict[str, float]:
    """Compare two CoNLL-U files. Words are aligned by their characters.

    gold (str): The gold annotation.
    predicted (str): What was predicted for the same text.
    RETURNS (dict[str, float]): The F1 of each metric.
    RAISES (UDError): The texts differ, or one file is no CoNLL-U.
    """
    # The scorer walks up trees by recursion. A parser that is barely trained may take a whole text
    # for one sentence, and make a tree as deep as the text is long.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + predicted.count("\n")))
    both = [load_conllu(io.StringIO(text), "", {}) for text in (gold, predicted)]
    result = evaluate(*both)
    return {name: result[name].f1 for name in METRICS}


def annotate_gold_tokens(nlp: Language, lines: list[str]) -> str:
    """Replace the annotation of a CoNLL-U file by what a pipeline predicts, sentence by sentence.
    Multiword tokens stay. Empty nodes, which are not scored, go.

    nlp (Language): The pipeline.
    lines (list[str]): The lines of the file.
    RETURNS (str): The file with predictions.
    """
    lines = [line for line in lines if line.startswith("#") or "." not in line.split("\t")[0]]
    sentences: list[list[int]] = [[]]
    for i, line in enumerate(lines):
        if line.split("\t")[0].isdecimal():
            sentences[-1].append(i)
        elif not line and sentences[-1]:
            sentences.append([])
    sentences = [rows for rows in sentences if rows]
    words = [[lines[i].split("\t")[1] for i in rows] for rows in sentences]
    docs = [
        Doc(nlp.vocab, words=sentence, sent_starts=[i == 0 for i in range(len(sentence))])
        for sentence in words
    ]
    for rows, doc in zip(sentences, nlp.pipe(docs), strict=True):
        # A word that is white space would have no row, but UD has none.
        for i, line in zip(rows, make_rows(doc[:]), strict=True):
            lines[i] = line
    return "\n".join(lines)


def annotate_texts(nlp: Language, lines: list[str]) -> str:
    """Annotate the raw text of a CoNLL-U file.

    nlp (Language): The pipeline.
    lines (list[str]): The lines of the file.
    RETURNS (str): The predictions as a CoNLL-U file.
    """
    sentences = (make_rows(sent) for doc in nlp.pipe(read_texts(lines)) for sent in doc.sents)
    return "".join("\n".join(rows) + "\n\n" for rows in sentences if rows)


def read_texts(lines: Iterable[str]) -> list[str]:
    """Read the text of a CoNLL-U file from its comments: one text for each paragraph or, if these
    are not marked, document.

    lines (Iterable[str]): The lines of the file.
    RETURNS (list[str]): The texts.
    """
    texts = [""]
    space = ""
    for line in lines:
        if line.startswith(("# newdoc", "# newpar")):
            texts.append("")
            space = ""
        elif line.startswith(TEXT):
            texts[-1] += space + line[len(TEXT) :].strip()
        elif line and not line.startswith("#"):
            space = "" if "SpaceAfter=No" in line.split("\t")[-1] else " "
    return [text for text in texts if text]


def make_rows(sent: Span) -> list[str]:
    """Make the rows of a sentence in a CoNLL-U file. Tokens of white space are left out. The first
    root becomes the head of any others, as the scorer takes one root only.

    sent (Span): The sentence.
    RETURNS (list[str]): The rows.
    """
    tokens = [token for token in sent if not token.is_space]
    ids = {token.i: n for n, token in enumerate(tokens, start=1)}
    heads = []
    for token in tokens:
        head = token.head
        while head.is_space and head.head.i != head.i:
            head = head.head
        heads.append(ids.get(head.i, 0) if head.i != token.i else 0)
    root = heads.index(0) + 1 if tokens else 0
    rows = []
    for n, (token, head) in enumerate(zip(tokens, heads, strict=True), start=1):
        if not head and n != root:
            head = root
        dep = "root" if not head else "dep" if token.dep_ in ("", "ROOT") else token.dep_
        follows = token.i + 1 == len(token.doc) or token.nbor().is_space
        misc = "_" if token.whitespace_ or follows else "SpaceAfter=No"
        columns = [token.text, token.lemma_, token.pos_, token.tag_, str(token.morph)]
        columns = [column or "_" for column in columns]
        rows.append("\t".join([str(n), *columns, str(head), dep, "_", misc]))
    return rows


if __name__ == "__main__":
    typer.run(evaluate_cli)
