"""Texts for the scripts, also with ever new words."""

import random
import re
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from string import ascii_lowercase

import spacy
from spacy.tokens import DocBin

WORD = re.compile(r"[A-Za-z]{4,}")
# Share of the words of four letters or more that are replaced
NEW_SHARE = 0.3


def read_texts(path: Path) -> list[str]:
    """Read texts.

    path (Path): Docs (.spacy), a treebank (.conllu), or a text per line.
    RETURNS (List[str]): The texts that are not empty.
    """
    if path.suffix == ".spacy":
        vocab = spacy.blank("en").vocab
        texts = [doc.text for doc in DocBin().from_disk(path).get_docs(vocab)]
    else:
        texts = path.read_text(encoding="utf8").splitlines()
        if path.suffix == ".conllu":
            mark = "# text = "
            texts = [line.removeprefix(mark) for line in texts if line.startswith(mark)]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise ValueError(f"{path} has no texts.")
    return texts


def make_new_words(texts: list[str], n_texts: int, seed: int) -> Iterator[str]:
    """Repeat texts with new random words in place of some of theirs.

    texts (List[str]): The texts.
    n_texts (int): How many to make.
    seed (int): The same seed gives the same texts.
    YIELDS (str): The texts.
    """
    rng = random.Random(seed)

    def replace(match: re.Match[str]) -> str:
        word = match[0]
        if rng.random() >= NEW_SHARE:
            return word
        new = "".join(rng.choices(ascii_lowercase, k=max(8, len(word))))
        return new.capitalize() if word[0].isupper() else new

    for text in islice(cycle(texts), n_texts):
        yield WORD.sub(replace, text)
