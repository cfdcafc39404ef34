import typer
from spacy.tokens import Doc

from ..checks import check_count, check_limit, check_share
from ..pretraining.find_model import load_scorer
from ._util import ComponentOpt, GpuOpt, ModelArg, show_errors


def generate_cli(
    model: ModelArg,
    prompt: str = typer.Option("", "--prompt", "-p", help="Beginning of the text"),
    max_words: int = typer.Option(50, "--max-words", "-n", help="Maximum number of words to add"),
    temperature: float = typer.Option(1.0, "--temperature", "-t", help="Below 1: likelier words"),
    top_k: int = typer.Option(0, "--top-k", "-k", help="Sample from the likeliest words; 0 is all"),
    top_p: float = typer.Option(
        1.0, "--top-p", help="Sample from the likeliest words with this total probability"
    ),
    seed: int = typer.Option(0, "--seed", "-s", help="The same seed gives the same text"),
    component: ComponentOpt = None,
    use_gpu: GpuOpt = -1,
) -> None:
    """Continue a text with a language model, word by word, until it ends."""
    with show_errors("Can't generate text"):
        check_count("max_words", max_words, 1)
        check_limit("temperature", temperature)
        check_count("top_k", top_k, 0)
        check_share("top_p", top_p)
        nlp, scorer = load_scorer(model, component, use_gpu)
        words = [token.text for token in nlp.make_doc(prompt) if not token.is_space]
        words += scorer.generate(
            words, max_words, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )
    print(Doc(nlp.vocab, words=words).text.strip())
