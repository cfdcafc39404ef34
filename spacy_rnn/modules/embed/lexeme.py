"""Embeddings of words from hashed features."""

import torch
from torch import nn
from torch.nn import functional as F

from .bloom_filter import BloomFilter
from .sizes import FILTER_BITS


class LexemeEmbedding(nn.Module):
    """Embed lexemes: a table for each lexical attribute, one for affixes, one for character
    n-grams, and static vectors, concatenated and mixed by a maxout layer with layer norm
    (Goodfellow et al. 2013, Ba et al. 2016).

    Rows are found by hashing, so that an unknown word shares its rows with known ones. A filter of
    known words masks it.

    width (Optional[int]): The output width of the maxout layer. None concatenates only.
    rows (List[int]): The number of rows of each attribute's table; the first is the word's.
    attr_widths (List[int]): The width of each of those tables.
    n_affixes (int): The number of prefixes and suffixes of a lexeme.
    affix_rows (int): The number of rows of the table for each of them.
    affix_width (int): The width of that table.
    ngram_rows (int): The number of rows of the table for n-grams. 0 for none.
    ngram_width (int): The width of that table.
    maxout_pieces (int): The number of pieces of the maxout layer.
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
        # One table for all sizes, as calls take most of the time in a short text.
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
        n_features = sum(attr_widths) + n_affixes * affix_width + vectors_width
        n_features += ngram_width if ngram_rows else 0
        self.nO = n_features if width is None else width
        if width is not None:
            self.mix = nn.Linear(n_features, width * maxout_pieces)
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
        masked: torch.Tensor,
        tokens: torch.Tensor,
        words: torch.Tensor,
        vectors: torch.Tensor | None = None,
        *,
        is_train: bool = False,
    ) -> torch.Tensor:
        """Embed the tokens of a batch, computing each distinct lexeme once.

        attrs (Tensor): For each attribute and lexeme, the rows of the table to add up.
            (attributes, lexemes, rows)
        affixes (Tensor): For each lexeme and affix, the rows of the table to add up.
            (lexemes, affixes, rows)
        ngrams (Tensor): The n-grams' rows, lexeme by lexeme. (M,)
        ngram_starts (Tensor): The place of each lexeme's first n-gram. (lexemes,)
        lexemes (Tensor): The lexeme of each result. Several may share one. (results,)
        masked (Tensor): The results whose word (attribute 0) is masked. (masked,)
        tokens (Tensor): The result that is each token's embedding. (N,)
        words (Tensor): The hashes of each lexeme's word for the filter. (lexemes, hashes)
        vectors (Optional[Tensor]): The static vectors. (lexemes, vectors_width)
        is_train (bool): Whether to add the words to the filter.
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
        if len(masked):
            word = word.index_select(0, lexemes).index_fill(0, masked, 0.0)
            parts = [part.index_select(0, lexemes) for part in parts]
        features = torch.cat([word, *parts], dim=1)
        if self.mix is not None and self.norm is not None:
            features = self.mix(features)
            if self.maxout_pieces > 1:
                features = features.unflatten(1, (self.maxout_pieces, -1)).amax(dim=1)
            features = self.norm(features)
        return F.embedding(tokens, features)
