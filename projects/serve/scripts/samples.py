"""Requests to send: texts with ever new words, and bad ones."""

import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

TEMPLATES = (
    "Could you send the {0} of {1} {2} from {3} to {4} by 14 March?",
    "{1} {2} from {3} said that the {0} was late again.",
    "I booked a {0} for {1} at {3} Hotel, but nobody in {4} knows of it!",
    "Where does the {0} to {3} leave, and does {1} {2} have to pay in {4}?",
    "Thank you, {1}. The {0} arrived at {3} this morning, and {2} & {4} Ltd have paid for it.",
)
SYLLABLES = ("ka", "lo", "min", "ter", "va", "sch", "ro", "bel", "ni", "gos", "tan", "u", "pre")


class Request(NamedTuple):
    """A request, and what should come back.

    body (bytes): What to send.
    expected (Optional[Dict[str, Any]]): The analysis, or None if the request is bad.
    """

    body: bytes
    expected: dict[str, Any] | None


def make_texts(n: int, seed: int = 0) -> list[str]:
    """Make texts with invented words: four out of five words are frequent, the others are new.

    n (int): How many.
    seed (int): The random seed.
    RETURNS (List[str]): The texts.
    """
    rng = random.Random(seed)
    texts = []
    for _ in range(n):
        words = ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 5))) for _ in range(5)]
        texts.append(rng.choice(TEMPLATES).format(words[0], *(word.title() for word in words[1:])))
    return texts


def make_requests(
    texts: list[str], expected: list[dict[str, Any]], n: int, bad: float, seed: int = 0
) -> Iterator[Request]:
    """Make good and bad requests, in random order.

    texts (List[str]): The texts. They repeat if there are fewer than good requests.
    expected (List[Dict[str, Any]]): Their analyses.
    n (int): How many requests.
    bad (float): The share of bad ones.
    seed (int): The random seed.
    YIELDS (Request): The requests.
    """
    rng = random.Random(seed)
    bodies = make_bad_bodies(rng)
    i = 0
    for _ in range(n):
        if rng.random() < bad:
            yield Request(rng.choice(bodies), None)
        else:
            yield Request(json.dumps({"text": texts[i]}).encode("utf8"), expected[i])
            i = (i + 1) % len(texts)


def make_bad_bodies(rng: random.Random) -> list[bytes]:
    """RETURNS (List[bytes]): An empty text, one of 1 MB, JSON that ends early, and bytes."""
    return [
        b'{"text": ""}',
        json.dumps({"text": "word " * 200_000}).encode("utf8"),
        b'{"text": "The end is mis',
        rng.randbytes(1000),
    ]
