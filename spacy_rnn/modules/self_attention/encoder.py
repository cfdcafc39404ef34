"""A stack of self-attention layers: the encoder of a transformer."""

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from .positions import count_positions, get_sinusoids, get_waves
from .windows import Groups, count_blocks, make_mask, split_blocks

# In prediction, the feed-forward layers compute so many tokens at a time.
MAX_TOKENS = 10_000


class SelfAttentionEncoder(nn.Module):
    """Layers of multi-head self-attention and feed-forward networks (Vaswani et al. 2017,
    "Attention Is All You Need"), each on its normalised input (Xiong et al. 2020, "On Layer
    Normalization in the Transformer Architecture"). A token reads those at most `window` tokens
    away. The output for a sequence does not depend on the rest of the batch.

    nI (int): The width of the input.
    nO (int): The width of the output.
    depth (int): The number of layers.
    heads (int): The number of attention heads, a divisor of the width.
    hidden_width (int): The width of the hidden layer of feed-forward networks.
    positions (str): "rotary" or "sinusoidal".
    window (int): How many tokens a token reads in each direction.
    """

    def __init__(
        self,
        nI: int,
        nO: int,
        *,
        depth: int = 2,
        heads: int = 4,
        hidden_width: int = 1024,
        positions: str = "rotary",
        window: int = 128,
    ):
        super().__init__()
        self.heads, self.positions, self.window = heads, positions, window
        self.input = _make_linear(nI, nO)
        self.layers = nn.ModuleList(
            SelfAttentionLayer(nO, hidden_width, heads) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(nO)

    def forward(
        self,
        X: torch.Tensor,
        lengths: list[int],
        *,
        dropout: float = 0.0,
        is_train: bool = False,
        attend: bool = False,
    ) -> torch.Tensor:
        """Encode a batch of sequences.

        X (Tensor): The tokens of all sequences, one after another. (N, nI)
        lengths (List[int]): The number of tokens of each sequence; N together.
        dropout (float): The rate of dropout of the input and of what each sublayer adds, in
            training only.
        is_train (bool): Whether gradients will be asked for.
        attend (bool): Whether to return the attention weights instead. The batch must be a single
            sequence.
        RETURNS (Tensor): The output, (N, nO), or the weights, whose rows add up to 1,
            (depth, heads, N, N).
        """
        groups = Groups.from_lengths(lengths)
        order, inverse = (
            torch.from_numpy(part).to(X.device) for part in (groups.order, groups.inverse)
        )
        places = count_positions(lengths)[groups.order]
        waves: list[torch.Tensor] = []
        # Sums over layers keep the precision of the input, where autocast has lower ones.
        X = self.input(X[order]).to(X.dtype)
        if self.positions == "sinusoidal":
            X = X + torch.from_numpy(get_sinusoids(places, X.shape[1])).to(X)
        else:
            waves = [
                torch.from_numpy(wave).to(X).unsqueeze(1)
                for wave in get_waves(places, X.shape[1] // self.heads)
            ]
        rate = dropout if is_train else 0.0
        X, weights = F.dropout(X, rate), []
        for layer in cast(list[SelfAttentionLayer], self.layers):
            Q, K, V = layer.project(X, waves)
            if attend:
                weights.append(get_weights(Q, K, self.window))
            Y = self._attend(Q, K, V, groups)
            X = X + F.dropout(layer.output(Y.flatten(1)), rate)
            parts = [X] if is_train else X.split(MAX_TOKENS)
            X = X + F.dropout(torch.cat([layer.feed_forward(part) for part in parts]), rate)
        if attend:
            return torch.stack(weights)
        return self.norm(X)[inverse]

    def _attend(
        self, Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, groups: Groups
    ) -> torch.Tensor:
        """(N, heads, width) to the same, in the order of groups."""
        sizes = [n * length for n, length in groups.sizes]
        outputs = [Q[:0]]
        for (n, length), *parts in zip(
            groups.sizes, *(part.split(sizes) for part in (Q, K, V)), strict=True
        ):
            q, k, v = (part.view(n, length, *part.shape[1:]).transpose(1, 2) for part in parts)
            if length <= self.window:
                Y = F.scaled_dot_product_attention(q, k, v)
            else:
                Y = self._attend_in_blocks(q, k, v)
            outputs.append(Y.transpose(1, 2).flatten(0, 1))
        return torch.cat(outputs)

    def _attend_in_blocks(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """(sequences, heads, length, width) to the same."""
        n, heads, length, width = q.shape
        n_blocks, window = count_blocks(length, self.window), self.window
        padding = n_blocks * window - length
        q = F.pad(q, (0, 0, 0, padding)).view(n, heads, n_blocks, window, width)
        # A block of zeros before the first and after the last, which no query reads.
        k, v = (
            F.pad(part, (0, 0, window, padding + window)).view(n, heads, -1, window, width)
            for part in (k, v)
        )
        outputs = []
        for blocks in split_blocks(n_blocks, 3 * window * window * heads * n):
            m = len(blocks)
            keys, values = (
                torch.cat([part[:, :, i + blocks[0] : i + blocks[0] + m] for i in range(3)], dim=3)
                for part in (k, v)
            )
            mask = torch.from_numpy(make_mask(blocks, length, window)).to(q.device)
            queries, keys, values = (
                part.transpose(1, 2).flatten(0, 1)
                for part in (q[:, :, blocks[0] : blocks[0] + m], keys, values)
            )
            Y = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask.repeat(n, 1, 1).unsqueeze(1)
            )
            outputs.append(Y.view(n, m, heads, window, width).transpose(1, 2))
        return torch.cat(outputs, dim=2).flatten(2, 3)[:, :, :length]


class SelfAttentionLayer(nn.Module):
    """The parameters of one layer.

    width (int): The width of the input and the output.
    hidden_width (int): The width of the hidden layer.
    heads (int): The number of heads.
    """

    def __init__(self, width: int, hidden_width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.hidden_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.output = (
            _make_linear(width, width) for _ in range(4)
        )
        self.hidden = _make_linear(width, hidden_width)
        self.shrink = _make_linear(hidden_width, width)

    def project(
        self, X: torch.Tensor, waves: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """RETURNS (Tuple[Tensor, Tensor, Tensor]): Queries, keys and values. (N, heads, width)"""
        X = self.attention_norm(X)
        Q, K, V = (
            linear(X).view(len(X), self.heads, -1) for linear in (self.query, self.key, self.value)
        )
        if waves:
            Q, K = rotate(Q, waves), rotate(K, waves)
        return Q, K, V

    def feed_forward(self, X: torch.Tensor) -> torch.Tensor:
        """RETURNS (Tensor): What the feed-forward network adds to its input. (N, width)"""
        return self.shrink(self.hidden(self.hidden_norm(X)).relu())


def rotate(X: torch.Tensor, waves: list[torch.Tensor]) -> torch.Tensor:
    """Rotate pairs of features by the angle of a token's position, so that products depend on the
    distance of tokens (Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position
    Embedding"). A feature of the first half is paired with one of the second half.

    X (Tensor): Queries or keys. (N, heads, width)
    waves (List[Tensor]): The sines and cosines of the angles. Each (N, 1, width / 2)
    RETURNS (Tensor): The rotated queries or keys. (N, heads, width)
    """
    sines, cosines = (wave.to(X.dtype) for wave in waves)
    first, second = X.chunk(2, dim=2)
    rotated = [first * cosines - second * sines, second * cosines + first * sines]
    return torch.cat(rotated, dim=2)


def get_weights(Q: torch.Tensor, K: torch.Tensor, window: int) -> torch.Tensor:
    """RETURNS (Tensor): The attention weights in one sequence, by the definition. (heads, N, N)"""
    scores = torch.einsum("qhd,khd->hqk", Q, K).float() / Q.shape[2] ** 0.5
    places = torch.arange(len(Q), device=Q.device)
    is_far = (places[:, None] - places).abs() > window
    return scores.masked_fill(is_far, -torch.inf).softmax(dim=2)


def _make_linear(nI: int, nO: int) -> nn.Linear:
    linear = nn.Linear(nI, nO)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
