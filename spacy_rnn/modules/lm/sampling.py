"""Drawing words from a language model."""

from collections.abc import Callable, Iterator, Sequence

import torch

from ..rnn.cells import State
from .language_model import LanguageModel
from .vocabulary import BOUNDARY_ID, UNKNOWN_ID


def filter_scores(
    scores: torch.Tensor, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> torch.Tensor:
    """Make what is unlikely impossible.

    scores (Tensor): The logarithms of probabilities, up to a constant. (words,)
    temperature (float): What they are divided by: below 1 likely words become likelier. 0 leaves
        the likeliest word.
    top_k (int): How many words stay possible. 0 is all.
    top_p (float): Of the likeliest words, the fewest that have this probability together stay
        possible (Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration").
    RETURNS (Tensor): Scores, minus infinity for what is impossible. (words,)
    """
    if not temperature:
        temperature, top_k = 1.0, 1
    scores = scores / temperature
    if top_k and top_k < len(scores):
        # Not those that are as likely as the last: there may be many.
        kept = scores.topk(top_k).indices
        scores = torch.full_like(scores, -torch.inf).index_copy(0, kept, scores[kept])
    if top_p < 1.0:
        ordered, order = scores.sort(descending=True)
        before = ordered.softmax(dim=0).cumsum(dim=0) - ordered.softmax(dim=0)
        dropped = before >= top_p
        dropped[0] = False
        scores = scores.index_fill(0, order[dropped], -torch.inf)
    return scores


def sample_words(
    lm: LanguageModel,
    embeddings: Sequence[torch.Tensor],
    embed: Callable[[int], torch.Tensor],
    generator: torch.Generator,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Iterator[int]:
    """Draw one word after the other, until the text ends. The unknown word is never drawn.

    lm (LanguageModel): The model; its forward direction is used.
    embeddings (Sequence[Tensor]): The embeddings of the words that the text begins with.
        Each (1, width)
    embed (Callable[[int], Tensor]): Embeds a word of the vocabulary. (1, width)
    generator (Generator): Where chance comes from, on the CPU.
    temperature, top_k, top_p (float): See `filter_scores`.
    YIELDS (int): The place of each word in the vocabulary.
    """
    states: list[State] | None = None
    waiting = [lm.stack.boundary, *embeddings]
    while True:
        for X in waiting:
            # The backward direction reads along, and its output is not used.
            inputs = X.repeat(1, lm.stack.n_directions)
            outputs, states = lm.stack.run(inputs, [1], states)
        scores = lm.get_log_probs(outputs[-1][:, : lm.stack.width].float())[0].cpu()
        scores[UNKNOWN_ID] = -torch.inf
        scores = filter_scores(scores, temperature=temperature, top_k=top_k, top_p=top_p)
        word = int(torch.multinomial(scores.softmax(dim=0), 1, generator=generator))
        if word == BOUNDARY_ID:
            return
        yield word
        waiting = [embed(word)]
