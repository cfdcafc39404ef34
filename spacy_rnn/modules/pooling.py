"""From the vectors of a sequence's tokens to one vector."""

import torch
from torch import nn


class Pooling(nn.Module):
    """Pool sequences to one vector each, by one or several kinds of pooling, concatenated. For an
    empty sequence it is zero.

    "last" is the last state of each direction: the first half of the last token's vector and the
    second half of the first token's. "attention" is a weighted mean for each head, with weights
    from a network with one hidden layer (Lin et al. 2017, "A Structured Self-attentive Sentence
    Embedding").

    nI (int): The width of the tokens' vectors.
    kinds (List[str]): "last", "mean", "max" or "attention", without repetition.
    bidirectional (bool): Whether the second half of a vector was read from right to left.
    attention_width (int): The width of the hidden layer of the attention.
    attention_heads (int): The number of heads.
    """

    def __init__(
        self,
        nI: int,
        kinds: list[str],
        *,
        bidirectional: bool = True,
        attention_width: int = 64,
        attention_heads: int = 1,
    ):
        super().__init__()
        self.kinds = kinds
        self.bidirectional = bidirectional
        self.nO = sum(nI * (attention_heads if kind == "attention" else 1) for kind in kinds)
        self.attention: nn.Sequential | None = None
        if "attention" in kinds:
            project = nn.Linear(nI, attention_width, bias=False)
            heads = nn.Linear(attention_width, attention_heads, bias=False)
            nn.init.xavier_uniform_(project.weight)
            # Before training, all tokens have the same weight.
            nn.init.zeros_(heads.weight)
            self.attention = nn.Sequential(project, nn.Tanh(), heads)

    def forward(self, X: torch.Tensor, lengths: list[int], *, attend: bool = False) -> torch.Tensor:
        """Pool a batch of sequences.

        X (Tensor): The tokens of all sequences, one after another. (N, nI)
        lengths (List[int]): The number of tokens of each sequence.
        attend (bool): Whether to return the attention weights instead.
        RETURNS (Tensor): A vector for each sequence, (sequences, nO), or the weights of each token,
            (N, heads).
        """
        segments = Segments(lengths, X.device)
        if attend:
            return self.attend(X, segments)
        parts = []
        for kind in self.kinds:
            if kind == "last":
                parts.append(segments.take_last(X, bidirectional=self.bidirectional))
            elif kind == "mean":
                parts.append(segments.sum(X) / segments.sizes.clamp(min=1).unsqueeze(1))
            elif kind == "max":
                parts.append(segments.max(X))
            else:
                weights = self.attend(X, segments)
                parts.extend(segments.sum(X * column) for column in weights.split(1, dim=1))
        return torch.cat(parts, dim=1)

    def attend(self, X: torch.Tensor, segments: "Segments") -> torch.Tensor:
        """RETURNS (Tensor): The attention weights of tokens. In each sequence and head they
        add up to 1. (N, heads)
        """
        assert self.attention is not None
        return segments.softmax(self.attention(X))


class Segments:
    """Reductions over each sequence of a flat batch.

    lengths (List[int]): The number of tokens of each sequence.
    device (torch.device): Where the batch is.
    """

    def __init__(self, lengths: list[int], device: torch.device):
        self.sizes = torch.tensor(lengths, device=device)
        self.ends = self.sizes.cumsum(0)
        # The number of each token's sequence.
        self.ids = torch.repeat_interleave(
            torch.arange(len(lengths), device=device), self.sizes, output_size=sum(lengths)
        )

    def sum(self, X: torch.Tensor) -> torch.Tensor:
        """(N, width) to (sequences, width)"""
        return X.new_zeros(len(self.sizes), X.shape[1]).index_add(0, self.ids, X)

    def max(self, X: torch.Tensor) -> torch.Tensor:
        """(N, width) to (sequences, width). Of equal tokens the first gets the gradient."""
        ids = self.ids.unsqueeze(1).expand_as(X)
        largest = X.new_zeros(len(self.sizes), X.shape[1])
        largest.scatter_reduce_(0, ids, X.detach(), "amax", include_self=False)
        if not (torch.is_grad_enabled() and X.requires_grad):
            return largest
        # Looking for the places takes a fifth of the time of torch's own gradient of the maximum.
        places = torch.arange(len(X), device=X.device).unsqueeze(1).expand_as(X)
        places = places.where(X.detach() == largest.index_select(0, self.ids), len(X))
        first = torch.full_like(largest, len(X), dtype=places.dtype)
        first.scatter_reduce_(0, ids, places, "amin", include_self=False)
        # An empty sequence has no place.
        is_empty = first == len(X)
        return X.gather(0, first.masked_fill(is_empty, 0)).masked_fill(is_empty, 0.0)

    def softmax(self, X: torch.Tensor) -> torch.Tensor:
        """Over the tokens of each sequence, for each column. (N, width) to (N, width)"""
        powers = (X - self.max(X.detach()).index_select(0, self.ids)).exp()
        return powers / self.sum(powers).index_select(0, self.ids)

    def take_last(self, X: torch.Tensor, *, bidirectional: bool) -> torch.Tensor:
        """The first half of each sequence's last row and the second half of its first, or the
        whole last row. (N, width) to (sequences, width)
        """
        width = X.shape[1] // 2 if bidirectional else X.shape[1]
        # An empty sequence has neither: any row will do, as it is not used.
        last = (self.ends - 1).clamp(min=0)
        first = (self.ends - self.sizes).clamp(max=len(X) - 1)
        halves = [X[:, :width].index_select(0, last), X[:, width:].index_select(0, first)]
        return torch.cat(halves, dim=1).masked_fill((self.sizes == 0).unsqueeze(1), 0.0)
