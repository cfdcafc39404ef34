"""What a decoder would write, and what it looks at."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy
from spacy.tokens import Doc

from ..layers.ragged import join
from ..layers.seq2seq import align, get_codes, write_strings
from .string_tokens import Tokens


class Alignment(NamedTuple):
    """What a decoder attends to when it writes a string.

    source (str): The string that it reads.
    target (str): The string that it writes.
    weights (ndarray): The attention weight of each character of the source, and its end (column),
        for each character of the target, and its end (row). (len(target) + 1, len(source) + 1)
    """

    source: str
    target: str
    weights: numpy.ndarray


class DecodesStrings:
    """Give a component access to its decoder alone, without the table and edit scripts. Goes before
    spaCy's class in the list of bases.
    """

    model: Any
    source: str
    max_chars: int
    max_growth: int
    beam_width: int
    length_penalty: float

    def suggest(
        self, docs: Iterable[Doc], n_best: int = 5, beam_width: int | None = None
    ) -> list[list[list[tuple[str, float]]]]:
        """Find the most probable strings for tokens, by the decoder.

        docs (Iterable[Doc]): The Docs, as the component would get them.
        n_best (int): How many strings to find for each token, at most.
        beam_width (Optional[int]): How many hypotheses to follow. None: `beam_width`, or `n_best`
            if it is larger.
        RETURNS (List[List[List[Tuple[str, float]]]]): For each token of each Doc the strings with
            their probabilities, best first. Empty for white space, and for tokens longer than
            `max_chars`.
        """
        docs = list(docs)
        rows, words, codes, tags = self._read(docs)
        found: list[list[tuple[str, float]]] = [[] for doc in docs for _ in doc]
        results = write_strings(
            self.model.get_ref("decoder"),
            codes,
            tags,
            words,
            self.max_growth,
            beam_width=beam_width or max(self.beam_width, n_best),
            length_penalty=self.length_penalty,
            n_best=n_best,
        )
        for row, result in zip(rows, results, strict=True):
            found[row] = result
        ends = numpy.cumsum([len(doc) for doc in docs]).tolist()
        return [found[end - len(doc) : end] for doc, end in zip(docs, ends, strict=True)]

    def align(self, doc: Doc) -> list[Alignment]:
        """Find what the decoder attends to when it writes its best string for each token.

        doc (Doc): The Doc, as the component would get it.
        RETURNS (List[Alignment]): The alignments, without white space and tokens longer than
            `max_chars`.
        """
        rows, words, codes, tags = self._read([doc])
        (best,) = self.suggest([doc], 1)
        return [
            Alignment(word, target, align(self.model.get_ref("decoder"), *arrays, word, target))
            for i, (row, word) in enumerate(zip(rows, words, strict=True))
            for arrays in [(codes[i : i + 1], tags[i : i + 1])]
            for target, _ in best[row]
        ]

    def _read(self, docs: list[Doc]) -> tuple[Sequence[int], list[str], Any, Any]:
        """RETURNS (Tuple[List[int], List[str], ndarray, ndarray]): The tokens that can be decoded,
        their strings, codes and tags.
        """
        self.require_tok2vec(docs)  # type: ignore[attr-defined]
        tokens = Tokens(docs, self.source)
        strings = [tokens.keys[number][0] for number in tokens.numbers]
        rows = [
            row
            for row, string in enumerate(strings)
            if string and not string.isspace() and len(string) <= self.max_chars
        ]
        layer = self.model.get_ref("decoder")
        tags = self._get_tag_rows(tokens.keys)  # type: ignore[attr-defined]
        if not rows:
            return [], [], numpy.zeros((0, 0), dtype="f"), tags[:0]
        X = join(self.model.ops, self.model.get_ref("tok2vec").predict(docs))[rows]
        return rows, [strings[row] for row in rows], get_codes(layer, X), tags[tokens.numbers[rows]]
