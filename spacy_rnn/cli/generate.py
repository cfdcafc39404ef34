import typer
from spacy.tokens import Doc
from wasabi import msg

from ..checks import check_count, check_limit, check_share
from ..pretraining.find_model import load_scorer


def generate_cli(
    model: str = typer.Argument(..., help="Pipeline with a language model: name or path"),
    prompt: str = typer.Option("", "--prompt", "-p", help="What the text begins with"),
    max_words: int = typer.Option(50, "--max-words", "-n", help="How many words to add at most"),
    temperature: float = typer.Option(1.0, "--temperature", "-t", help="Below 1: likelier words"),
    top_k: int = typer.Option(0, "--top-k", "-k", help="Only the likeliest words; 0 is all"),
    top_p: float = typer.Option(1.0, "--top-p", help="Only the likeliest, of this probability"),
    seed: int = typer.Option(0, "--seed", "-s", help="The same seed gives the same text"),
    component: str | None = typer.Option(None, "--component", "-c", help="Name of the component"),
    use_gpu: int = typer.Option(-1, "--gpu-id", "-g", help="GPU ID or -1 for CPU"),
) -> None:
    """Let a language model go on with a text, word by word, until it ends."""
    try:
        check_count("max_words", max_words, 1)
        check_limit("temperature", temperature)
        check_count("top_k", top_k, 0)
        check_share("top_p", top_p)
        nlp, scorer = load_scorer(model, component, use_gpu)
        words = [token.text for token in nlp.make_doc(prompt) if not token.is_space]
        words += scorer.generate(
            words,
            max_words,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
    except (ValueError, OSError) as err:
        msg.fail("Can't generate text", str(err), exits=1)
    print(Doc(nlp.vocab, words=words).text.strip())
