"""Make an n-gram model of the words that a language model was pretrained on, and find out how well
it predicts the texts to validate on: what the language model has to be better than.

The n-gram model is KenLM's, with interpolated modified Kneser-Ney smoothing and nothing pruned
(Heafield et al. 2013, "Scalable Modified Kneser-Ney Language Model Estimation"). KenLM is not
installed with spacy-rnn: its programs `lmplz` and `query` come from github.com/kpu/kenlm.
"""

import hashlib
import subprocess
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import spacy
import srsly
import typer
from wasabi import msg

from spacy_rnn.pretraining.atomic import replace_path
from spacy_rnn.pretraining.text_files import find_files, read_texts
from spacy_rnn.pretraining.tokenize import tokenize
from spacy_rnn.probing.evaluate_lm import LMScore

# A word of its own for KenLM, whose <unk> stands for what it never saw.
RARE = "<rare>"
END = "</s>"
LN_10 = 2.302585092994046


def main(
    texts: Annotated[Path, typer.Argument(help="Text file or directory, as in pretraining")],
    valid: Annotated[Path, typer.Argument(help="Texts to validate on")],
    vocabulary: Annotated[Path, typer.Option(help="vocabulary.json of the pretraining")],
    kenlm: Annotated[Path, typer.Option(help="Directory of KenLM's programs")],
    directory: Annotated[Path, typer.Option(help="Where to put the n-gram models")],
    order: Annotated[int, typer.Option(help="Words that are counted together")] = 5,
    limit: Annotated[int, typer.Option(help="Texts to validate on; 0: all")] = 0,
    lang: Annotated[str, typer.Option(help="Language of the tokenizer")] = "en",
    n_process: Annotated[int, typer.Option(help="Processes that tokenize")] = 2,
    memory: Annotated[str, typer.Option(help="Memory for counting, as KenLM wants it")] = "40%",
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures")] = None,
) -> None:
    """Count, estimate, and evaluate, reading from the left and from the right."""
    programs = {name: kenlm / name for name in ("lmplz", "query")}
    for program in programs.values():
        if not program.is_file():
            msg.fail(f"There is no {program}", "Build it: github.com/kpu/kenlm.", exits=1)
    words = srsly.read_json(vocabulary)["vocabulary"]
    # What was made of other texts or another vocabulary is not taken for theirs.
    source = [(str(path), path.stat().st_size) for path in find_files(texts)]
    directory = directory / hashlib.md5(repr([source, words]).encode("utf8")).hexdigest()[:10]
    known = {word for word in words[2:] if word.split() == [word]}
    tokenizer = spacy.blank(lang).tokenizer
    validated = list(
        tokenize(islice(read_texts(find_files(valid)), limit or None), tokenizer, n_process)
    )
    figures = {}
    forward = directory / "train.txt"
    if not forward.is_file():
        msg.info("Tokenizing")
        with replace_path(forward) as path:
            write_lines(path, tokenize(read_texts(find_files(texts)), tokenizer, n_process), known)
    for name, step in (("forward", 1), ("backward", -1)):
        text, model = directory / f"{name}.txt", directory / f"{name}-{order}.arpa"
        if not model.is_file():
            msg.info(f"Counting, {name}")
            with replace_path(model) as path, open(forward, encoding="utf8") as lines:
                command = [programs["lmplz"], "-o", str(order), "-S", memory, "-T", directory]
                command += ["--arpa", path]
                with subprocess.Popen(command, stdin=subprocess.PIPE, encoding="utf8") as run:
                    assert run.stdin is not None
                    run.stdin.writelines(" ".join(line.split()[::step]) + "\n" for line in lines)
                if run.returncode:
                    raise subprocess.CalledProcessError(run.returncode, command)
        write_lines(text, (words[::step] for words in validated), known)
        command = [programs["query"], "-v", "word", model]
        with open(text, encoding="utf8") as lines:
            query = subprocess.run(command, stdin=lines, stdout=subprocess.PIPE, check=True)
        score = read_score(query.stdout.decode("utf8"))
        figures[name] = {**score.to_dict(), "vocabulary": len(words), "order": order}
        msg.good(f"{name}: perplexity {score.perplexity:.1f}")
    if output is not None:
        srsly.write_json(output, figures)


def write_lines(path: Path, texts: Iterable[Sequence[str]], known: set[str]) -> None:
    """Write texts as KenLM reads them, a text a line.

    path (Path): The file.
    texts (Iterable[Sequence[str]]): The words of each text. Texts without words are left out.
    known (Set[str]): The vocabulary; other words become one.
    """
    with open(path, "w", encoding="utf8") as file:
        for words in texts:
            if words:
                kept = [word if word in known else RARE for word in words]
                file.write(" ".join(kept) + "\n")


def read_score(text: str) -> LMScore:
    """Read what KenLM's `query -v word` says of each word: the word, its number, how much of the
    context was used, and the logarithm of its probability to base 10.

    text (str): Its output.
    RETURNS (LMScore): The result.
    """
    score = LMScore()
    for entry in text.split("\t"):
        word, _, numbers = entry.strip().rpartition("=")
        if not word:
            continue
        log = LN_10 * float(numbers.split()[2])
        score.total += log
        if word == END:
            score.n_texts += 1
            continue
        score.n_words += 1
        if word == RARE:
            score.n_unknown += 1
            score.unknown += log
    return score


if __name__ == "__main__":
    typer.run(main)
