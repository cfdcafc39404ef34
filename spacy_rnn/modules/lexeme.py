"""Embeddings of words from hashed features."""

import torch
from torch import nn
from torch.nn import functional as F


class LexemeEmbedding(nn.Module):
    """Embed lexemes: one table of rows for each lexical attribute, one for the affixes of all
    sizes, one for character n-grams and a projection of static vectors, side by side, mixed by
    a maxout layer with layer norm (Goodfellow et al. 2013, Ba et al. 2016).

    width (int): The output width.
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
        width: int,
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
        self.vectors = nn.Linear(vectors_width, width, bias=False) if vectors_width else None
        n_features = sum(attr_widths) + n_affixes * affix_width
        n_features += (ngram_width if ngram_rows else 0) + (width if vectors_width else 0)
        self.maxout_pieces = maxout_pieces
        self.mix = nn.Linear(n_features, width * maxout_pieces)
        self.norm = nn.LayerNorm(width)
        for table in [*self.attrs, self.affixes, self.ngrams]:
            if table is not None:
                nn.init.uniform_(table.weight, -0.1, 0.1)
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
        vectors: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Embed the tokens of a batch. The work is done once for each distinct lexeme.

        attrs (Tensor): For each attribute and lexeme, the rows of the table that are added up.
            (attributes, lexemes, rows)
        affixes (Tensor): The same for each lexeme and affix. (lexemes, affixes, rows)
        ngrams (Tensor): The n-grams' rows, lexeme by lexeme. (M,)
        ngram_starts (Tensor): Where each lexeme's n-grams begin. (lexemes,)
        lexemes (Tensor): The lexeme of each result, several of which may share one. (results,)
        hidden (Tensor): The results whose word (attribute 0 and vector) is left out. (hidden,)
        tokens (Tensor): The result that is each token's embedding. (N,)
        vectors (Optional[Tensor]): The static vectors. (lexemes, vectors_width)
        RETURNS (Tensor): The embeddings. (N, width)
        """
        word = self.attrs[0](attrs[0])
        if self.vectors is not None and vectors is not None:
            word = torch.cat([word, self.vectors(vectors)], dim=1)
        parts = [table(ids) for table, ids in zip(self.attrs[1:], attrs[1:], strict=True)]
        if self.affixes is not None:
            parts.append(self.affixes(affixes.flatten(0, 1)).view(len(affixes), -1))
        if self.ngrams is not None:
            parts.append(self.ngrams(ngrams, ngram_starts))
        if len(hidden):
            word = word.index_select(0, lexemes).index_fill(0, hidden, 0.0)
            parts = [part.index_select(0, lexemes) for part in parts]
        mixed = self.mix(torch.cat([word, *parts], dim=1))
        if self.maxout_pieces > 1:
            mixed = mixed.unflatten(1, (self.maxout_pieces, -1)).amax(dim=1)
        return F.embedding(tokens, self.norm(mixed))
