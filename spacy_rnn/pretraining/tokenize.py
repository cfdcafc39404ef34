"""Tokenize texts in worker processes, in order."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import nullcontext
from typing import Any

from spacy.tokens import Doc
from spacy.util import minibatch

from .text_files import Text

Words = list[str]
Tokenizer = Callable[[str], Doc]

# The number of texts in a batch, and of batches that are tokenized ahead. The executor's own `map`
# would read all texts at once.
BATCH_TEXTS = 256
BATCHES_PER_PROCESS = 4

# The tokenizer of a worker process.
_tokenizer: Tokenizer | None = None


def tokenize(texts: Iterable[Text], tokenizer: Tokenizer, n_process: int) -> Iterator[Words]:
    """Tokenize texts.

    texts (Iterable[str / List[str]]): The texts. Lists of words pass unchanged.
    tokenizer (Callable[[str], Doc]): The tokenizer of a pipeline.
    n_process (int): The number of worker processes. 0 is this process.
    YIELDS (List[str]): The words of each text, without white space.
    """
    batches = minibatch(texts, BATCH_TEXTS)
    if not n_process:
        for batch in batches:
            yield from _tokenize(batch, tokenizer)
        return
    # Forked processes would inherit the locks of torch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_process, context, _set_tokenizer, (tokenizer,)) as pool:
        waiting: deque[Future[list[Words]]] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(_tokenize, batch))
                if len(waiting) > n_process * BATCHES_PER_PROCESS:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _set_tokenizer(tokenizer: Tokenizer) -> None:
    global _tokenizer
    _tokenizer = tokenizer


def _tokenize(texts: list[Text], tokenizer: Tokenizer | None = None) -> list[Words]:
    tokenizer = _tokenizer if tokenizer is None else tokenizer
    assert tokenizer is not None
    vocab: Any = getattr(tokenizer, "vocab", None)
    # The vocab must not keep the words of all texts.
    with vocab.memory_zone() if hasattr(vocab, "memory_zone") else nullcontext():
        return [
            [token.text for token in tokenizer(text) if not token.is_space]
            if isinstance(text, str)
            else text
            for text in texts
        ]
