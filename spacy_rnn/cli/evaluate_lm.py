from pathlib import Path

import srsly
import typer
from wasabi import msg

from ..pretraining.find_model import load_scorer
from ..pretraining.text_files import find_files, read_texts
from ..pretraining.tokenize import tokenize
from ..probing.evaluate_lm import evaluate_language_model


def evaluate_lm_cli(
    model: str = typer.Argument(..., help="Pipeline with a language model: name or path"),
    text: Path = typer.Argument(..., help="Text file, a text a line, or directory with such files"),
    component: str | None = typer.Option(None, "--component", "-c", help="Name of the component"),
    output: Path | None = typer.Option(None, "--output", "-o", help="JSON file for the figures"),
    use_gpu: int = typer.Option(-1, "--gpu-id", "-g", help="GPU ID or -1 for CPU"),
) -> None:
    """Print how well a language model predicts text: the perplexity of words and ends of texts, in
    each direction, with and without words that are not in its vocabulary.
    """
    try:
        nlp, scorer = load_scorer(model, component, use_gpu)
        files = find_files(text)
        figures = {}
        for direction, name in enumerate(scorer.directions):
            texts = tokenize(read_texts(files), nlp.tokenizer, 0)
            score = evaluate_language_model(scorer, texts, direction)
            figures[name] = {**score.to_dict(), "vocabulary": len(scorer.vocabulary)}
    except (ValueError, OSError) as err:
        msg.fail("Can't evaluate the language model", str(err), exits=1)
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
        msg.good(f"Saved the figures to {output}")
