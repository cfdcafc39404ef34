"""Tokenizing in worker processes, in order, reading no further ahead than needed."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import nullcontext
from itertools import islice
from typing import Any

from spacy.tokens import Doc

from .text_files import Text

Words = list[str]
Tokenizer = Callable[[str], Doc]

# Texts that are sent to a process together, and how many of such parcels are on the way.
PARCEL_TEXTS = 256
PARCELS_PER_PROCESS = 4

_tokenizer: Tokenizer | None = None


def tokenize(texts: Iterable[Text], tokenizer: Tokenizer, n_process: int) -> Iterator[Words]:
    """Tokenize texts.

    texts (Iterable[str / List[str]]): The texts. Lists of words are left as they are.
    tokenizer (Callable[[str], Doc]): The tokenizer of a pipeline.
    n_process (int): The number of worker processes; 0 does it in this one.
    YIELDS (List[str]): The words of each text, white space left out.
    """
    texts = iter(texts)
    parcels = iter(lambda: list(islice(texts, PARCEL_TEXTS)), [])
    if not n_process:
        for parcel in parcels:
            yield from _tokenize_parcel(tokenizer, parcel)
        return
    # Forked processes would inherit locks of torch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_process, context, _start, (tokenizer,)) as pool:
        waiting: deque[Future[list[Words]]] = deque()
        try:
            for parcel in parcels:
                waiting.append(pool.submit(_tokenize_in_process, parcel))
                if len(waiting) > n_process * PARCELS_PER_PROCESS:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _start(tokenizer: Tokenizer) -> None:
    global _tokenizer
    _tokenizer = tokenizer


def _tokenize_in_process(texts: list[Text]) -> list[Words]:
    assert _tokenizer is not None
    return _tokenize_parcel(_tokenizer, texts)


def _tokenize_parcel(tokenizer: Tokenizer, texts: list[Text]) -> list[Words]:
    vocab: Any = getattr(tokenizer, "vocab", None)
    # Texts may have any number of words: the vocab forgets them.
    with vocab.memory_zone() if hasattr(vocab, "memory_zone") else nullcontext():
        return [
            [token.text for token in tokenizer(text) if not token.is_space]
            if isinstance(text, str)
            else text
            for text in texts
        ]
