"""Embeddings of words from hashed features."""

import torch
from torch import nn
from torch.nn import functional as F

from .bloom_filter import BloomFilter

# With 100,000 words and as many hashes as there are, it is wrong about one unknown word in 100.
FILTER_BITS = 2**20
FILTER_HASHES = 4


class LexemeEmbedding(nn.Module):
    """Embed lexemes: one table of rows for each lexical attribute, one for the affixes of all
    sizes, one for character n-grams and static vectors, side by side, mixed by a maxout layer
    with layer norm (Goodfellow et al. 2013, Ba et al. 2016), or not at all.

    Rows are found by hashing, so that a word never trained on has rows too, those of others. It
    is known by a filter, and shown without them.

    width (Optional[int]): The output width; None does not mix.
    rows (List[int]): The number of rows of each attribute's table; the first is the word's.
    attr_widths (List[int]): The width of each of those tables.
    n_affixes (int): How many prefixes and suffixes a lexeme has.
    affix_rows (int): The number of rows that the table has for each of them.
    affix_width (int): The width of that table.
    ngram_rows (int): The number of rows of the table for n-grams. 0 for none.
    ngram_width (int): The width of that table.
    maxout_pieces (int): Of how many linear maps the mixing layer takes the largest value.
    vectors_width (int): The width of the static vectors. 0 for none.
    """

    def __init__(
        self,
        width: int | None,
        rows: list[int],
        attr_widths: list[int],
        n_affixes: int,
        affix_rows: int,
        affix_width: int,
        ngram_rows: int,
        ngram_width: int,
        maxout_pieces: int,
        vectors_width: int = 0,
    ):
        super().__init__()
        self.attrs = nn.ModuleList(
            nn.EmbeddingBag(n, w, mode="sum") for n, w in zip(rows, attr_widths, strict=True)
        )
        # One table for all sizes, as calls are what costs time in a short text.
        rows_of_affixes = n_affixes * affix_rows
        self.affixes = (
            nn.EmbeddingBag(rows_of_affixes, affix_width, mode="sum") if n_affixes else None
        )
        self.ngrams = nn.EmbeddingBag(ngram_rows, ngram_width, mode="mean") if ngram_rows else None
        self.known_words = BloomFilter(FILTER_BITS)
        self.maxout_pieces = maxout_pieces
        self.mix: nn.Linear | None = None
        self.norm: nn.LayerNorm | None = None
        for table in [*self.attrs, self.affixes, self.ngrams]:
            if table is not None:
                nn.init.uniform_(table.weight, -0.1, 0.1)
        n_features = sum_widths(attr_widths, n_affixes, affix_width, ngram_rows, ngram_width)
        self.nO = n_features + vectors_width if width is None else width
        if width is not None:
            self.mix = nn.Linear(n_features + vectors_width, width * maxout_pieces)
            self.norm = nn.LayerNorm(width)
            nn.init.xavier_uniform_(self.mix.weight)
            nn.init.zeros_(self.mix.bias)

    def forward(
        self,
        attrs: torch.Tensor,
        affixes: torch.Tensor,
        ngrams: torch.Tensor,
        ngram_starts: torch.Tensor,
        lexemes: torch.Tensor,
        hidden: torch.Tensor,
        tokens: torch.Tensor,
        words: torch.Tensor,
        vectors: torch.Tensor | None = None,
        *,
        is_train: bool = False,
    ) -> torch.Tensor:
        """Embed the tokens of a batch. The work is done once for each distinct lexeme.

        attrs (Tensor): For each attribute and lexeme, the rows of the table that are added up.
            (attributes, lexemes, rows)
        affixes (Tensor): The same for each lexeme and affix. (lexemes, affixes, rows)
        ngrams (Tensor): The n-grams' rows, lexeme by lexeme. (M,)
        ngram_starts (Tensor): Where each lexeme's n-grams begin. (lexemes,)
        lexemes (Tensor): The lexeme of each result, several of which may share one. (results,)
        hidden (Tensor): The results whose word (attribute 0) is left out. (hidden,)
        tokens (Tensor): The result that is each token's embedding. (N,)
        words (Tensor): The hashes that each lexeme's word is known by. (lexemes, hashes)
        vectors (Optional[Tensor]): The static vectors. (lexemes, vectors_width)
        is_train (bool): Whether the words are known from now on.
        RETURNS (Tensor): The embeddings. (N, width)
        """
        if is_train:
            self.known_words.add(words)
        word = self.attrs[0](attrs[0]) * self.known_words(words).unsqueeze(1)
        parts = [table(ids) for table, ids in zip(self.attrs[1:], attrs[1:], strict=True)]
        if self.affixes is not None:
            parts.append(self.affixes(affixes.flatten(0, 1)).view(len(affixes), -1))
        if self.ngrams is not None:
            parts.append(self.ngrams(ngrams, ngram_starts))
        if vectors is not None:
            parts.append(vectors)
        if len(hidden):
            word = word.index_select(0, lexemes).index_fill(0, hidden, 0.0)
            parts = [part.index_select(0, lexemes) for part in parts]
        features = torch.cat([word, *parts], dim=1)
        if self.mix is not None and self.norm is not None:
            features = self.mix(features)
            if self.maxout_pieces > 1:
                features = features.unflatten(1, (self.maxout_pieces, -1)).amax(dim=1)
            features = self.norm(features)
        return F.embedding(tokens, features)


def sum_widths(
    attr_widths: list[int], n_affixes: int, affix_width: int, ngram_rows: int, ngram_width: int
) -> int:
    """Get the width of all features but static vectors together. The arguments are those of
    `LexemeEmbedding`.
    """
    return sum(attr_widths) + n_affixes * affix_width + (ngram_width if ngram_rows else 0)
