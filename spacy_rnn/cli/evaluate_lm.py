from pathlib import Path

import srsly
import typer
from wasabi import msg

from ..pretraining.find_model import load_scorer
from ..pretraining.text_files import find_files, read_texts
from ..pretraining.tokenize import tokenize
from ..probing.evaluate_lm import evaluate_language_model
from ..probing.ngram import NGramScorer
from ._util import ComponentOpt, GpuOpt, ModelArg, show_errors


def evaluate_lm_cli(
    model: ModelArg,
    text: Path = typer.Argument(
        ..., help="Text file with one text per line, or directory with such files"
    ),
    component: ComponentOpt = None,
    ngram: int = typer.Option(
        0, "--ngram", "-n", min=0, help="Compare with a model of so many words in a row; 0: don't"
    ),
    train: Path | None = typer.Option(
        None, "--train", "-t", help="Texts for the n-gram model: those the model was pretrained on"
    ),
    output: Path | None = typer.Option(None, "--output", "-o", help="JSON file for the results"),
    use_gpu: GpuOpt = -1,
) -> None:
    """Print the perplexity of a language model on texts, in each direction, with and without words
    that are not in its vocabulary. With --ngram, also evaluate an n-gram model with the same
    vocabulary and interpolated modified Kneser-Ney smoothing.
    """
    figures = {}
    with show_errors("Can't evaluate the language model"):
        if ngram and train is None:
            raise ValueError("An n-gram model learns from texts: name them by --train.")
        nlp, scorer = load_scorer(model, component, use_gpu)
        files = find_files(text)
        for direction, name in enumerate(scorer.directions):
            texts = tokenize(read_texts(files), nlp.tokenizer, 0)
            score = evaluate_language_model(scorer, texts, direction)
            figures[name] = {**score.to_dict(), "vocabulary": len(scorer.vocabulary)}
            if ngram and train is not None:
                learned = tokenize(read_texts(find_files(train)), nlp.tokenizer, 0)
                counted = NGramScorer(scorer.vocabulary, learned, ngram, direction)
                texts = tokenize(read_texts(files), nlp.tokenizer, 0)
                score = evaluate_language_model(counted, texts, direction)
                figures[f"{name}, {ngram}-gram"] = {
                    **score.to_dict(),
                    "vocabulary": len(scorer.vocabulary),
                }
    for name, values in figures.items():
        table = {
            "Perplexity": f"{values['perplexity']:.2f}",
            "of known words": f"{values['known_perplexity']:.2f}",
            "Texts": f"{values['texts']:,}",
            "Words": f"{values['words']:,}",
            "Unknown words": f"{values['unknown_words']:,} ({values['unknown_rate']:.2%})",
            "Vocabulary": f"{values['vocabulary']:,}",
        }
        msg.table(table, title=f"Language model, {name}")
    if output is not None:
        srsly.write_json(output, figures)
        msg.good(f"Saved the results to {output}")
