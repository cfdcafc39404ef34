"""What the systems are timed on."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.vocab import Vocab

MARK = "# text = "


def read_texts(paths: list[Path]) -> list[str]:
    """Read the sentences' texts from the comments of CoNLL-U files, or others with such comments,
    or from .spacy files.

    paths (list[Path]): The files.
    RETURNS (list[str]): The texts, in the order of the files.
    RAISES (ValueError): A file is absent or has no texts.
    """
    texts = []
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path} does not exist. Fetch it: `spacy project run fetch`")
        if path.suffix == ".spacy":
            texts += [doc.text for doc in DocBin().from_disk(path).get_docs(Vocab())]
            continue
        lines = path.read_text(encoding="utf8").split("\n")
        found = [line[len(MARK) :].strip() for line in lines if line.startswith(MARK)]
        if not found:
            raise ValueError(f"{path} has no lines that start with '{MARK}'.")
        texts += found
    return texts


def read_lengths(path: Path) -> list[int]:
    """Read how many gold tokens each sentence of a .spacy file has."""
    return [len(doc) for doc in DocBin().from_disk(path).get_docs(Vocab())]


@dataclass
class TrainingData:
    """Sentences to train on, for any pipeline.

    labels (list[str]): All labels of the training data.
    docs (bytes): Some of its sentences, a DocBin.
    words (int): The number of words in them.
    """

    labels: list[str]
    docs: bytes
    words: int

    def make_examples(self, nlp: Language) -> list[Example]:
        """Make new examples, with gold tokens, as spaCy's Corpus does."""
        docs = DocBin().from_bytes(self.docs).get_docs(nlp.vocab)
        return [_make_example(nlp, doc) for doc in docs]


def read_training_data(
    path: Path, n_words: int, get_labels: Callable[[list[Doc]], list[str]]
) -> TrainingData:
    """Read all labels and a random choice of sentences, the same for the same file.

    path (Path): The .spacy file.
    n_words (int): The number of words to choose, give or take a sentence.
    get_labels (Callable[[list[Doc]], list[str]]): Reads the labels.
    RETURNS (TrainingData): The data.
    """
    docs = list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))
    labels = get_labels(docs)
    random.Random(0).shuffle(docs)
    chosen = list(_take(docs, n_words))
    return TrainingData(labels, DocBin(docs=chosen).to_bytes(), sum(map(len, chosen)))


def _take(docs: list[Doc], n_words: int) -> Iterator[Doc]:
    for doc in docs:
        if n_words <= 0:
            return
        n_words -= len(doc)
        yield doc


def _make_example(nlp: Language, doc: Doc) -> Example:
    words = [token.text for token in doc]
    spaces = [bool(token.whitespace_) for token in doc]
    return Example(Doc(nlp.vocab, words=words, spaces=spaces), doc)
